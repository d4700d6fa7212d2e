"""The sections of a report, in the order of the page, its table of contents and report.md.

To add a section, write a file in `sections/` with a `SECTION` and a template in `page/`, and add an entry
here.
"""

from __future__ import annotations

from experiments.report.section import Section
from experiments.report.sections import (
    apart,
    audit,
    environment,
    gates,
    learning_curves,
    masks,
    methods,
    overlap,
    per_item,
    results,
    runs,
    samples,
    stages,
    task_tables,
    tuning,
    verdicts,
)

SECTIONS: tuple[Section, ...] = (
    verdicts.SECTION,
    per_item.SECTION,
    tuning.SECTION,
    results.SECTION,
    stages.SECTION,
    task_tables.SECTION,
    audit.SECTION,
    learning_curves.SECTION,
    gates.SECTION,
    overlap.SECTION,
    masks.SECTION,
    samples.SECTION,
    apart.SECTION,
    methods.SECTION,
    runs.SECTION,
    environment.SECTION,
)
