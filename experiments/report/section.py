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


@dataclass(frozen=True)
class Section:
    """One section.

    id: its anchor on the page; its template is `page/ID.html.j2`. title: its name in the contents. html: the
    values for its template. markdown: its paragraphs in report.md; None for a section of pictures. shown:
    whether a report has the section. links: further (anchor, name) pairs in the contents.
    """

    id: str
    title: str
    html: Callable[[Report], dict[str, Any]]
    markdown: Callable[[Report], Iterator[str]] | None = None
    shown: Callable[[Report], bool] = lambda report: True
    links: tuple[tuple[str, str], ...] = ()
