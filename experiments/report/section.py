"""The interface of a section, and the data that all sections read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from experiments.evidence.results import METRICS, Metric
from experiments.evidence.tuning import Tuning
from experiments.report.claimed import Claimed
from experiments.runs.reading import SweepRecord

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Report:
    """The data that all sections read: a sweep's runs, its results, and its claims (None without)."""

    sweep: SweepRecord
    results: pd.DataFrame
    claimed: Claimed | None

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics that some finished run has, in their fixed order."""
        return [metric for metric in METRICS if metric.name in set(self.results["metric"])]

    @property
    def seeds(self) -> int:
        """The number of seeds of an arm: as registered, or without claims as run."""
        return self.claimed.registered.seeds if self.claimed else len(self.sweep.seeds)

    @cached_property
    def tuning(self) -> Tuning | None:
        """The trials of every arm; None if nothing was tuned."""
        tuning = Tuning.load(self.sweep.folder)
        return tuning if tuning is not None and any(tuning.trials.values()) else None

    @cached_property
    def _values(self) -> dict[str, Values | None]:
        return {}

    def values_of(self, section: Section) -> Values | None:
        """A section's values, worked out once for the page and for report.md."""
        if section.id not in self._values:
            self._values[section.id] = section.values(self)
        return self._values[section.id]


@dataclass(frozen=True)
class Section:
    """One section.

    id: its anchor on the page; its template is `page/ID.html.j2`. title: its name in the contents. values:
    what its template shows, by name; None for a report that does not have the section. markdown: its
    paragraphs in report.md, from the same values; None for a section of pictures. links: further (anchor,
    name) pairs in the contents.
    """

    id: str
    title: str
    values: Callable[[Report], Values | None]
    markdown: Callable[[Report, Values], Iterator[str]] | None = None
    links: tuple[tuple[str, str], ...] = ()
