"""The learning curves: each arm's own loss against tokens, targets and FLOPs."""

from __future__ import annotations

from markupsafe import Markup

from experiments.report.figures import curves
from experiments.report.section import Section

SECTION = Section(
    "curves",
    "Learning curves",
    lambda report: {"curves": [Markup(svg) for svg in curves.curves(report.sweep)]},
)
