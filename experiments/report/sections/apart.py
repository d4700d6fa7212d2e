"""The numbers of a report that are not comparable, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.report.markup import escaped, listed
from experiments.report.section import Report, Section, Values
from experiments.report.sections import words


def _markdown(report: Report, values: Values) -> Iterator[str]:
    yield "## What is not comparable"
    yield listed(f"**{escaped(name)}** {escaped(why)}" for name, why in values["not_comparable"])


SECTION = Section(
    "apart",
    "Not comparable",
    lambda report: {"not_comparable": words.not_comparable(report.sweep)},
    _markdown,
)
