"""The numbers of a report that are not comparable, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.report.markup import escaped, listed
from experiments.report.section import Report, Section
from experiments.report.sections import words


def _markdown(report: Report) -> Iterator[str]:
    yield "## What is not comparable"
    reasons = words.not_comparable(report.sweep)
    yield listed(f"**{escaped(name)}** {escaped(why)}" for name, why in reasons)


SECTION = Section(
    "apart",
    "Not comparable",
    lambda report: {"not_comparable": words.not_comparable(report.sweep)},
    _markdown,
)
