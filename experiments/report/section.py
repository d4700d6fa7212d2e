"""What a section of a report is, and what it reads."""

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
    """What all sections read: a sweep's runs, the table of its results, and its claims if it makes any."""

    sweep: SweepRecord
    results: pd.DataFrame
    claimed: Claimed | None

    @cached_property
    def metrics(self) -> list[Metric]:
        """Those that some finished run has, in their fixed order."""
        return [metric for metric in METRICS if metric.name in set(self.results["metric"])]

    @property
    def seeds(self) -> int:
        """How many seeds an arm has, as registered or as run."""
        return self.claimed.said.seeds if self.claimed else len(self.sweep.seeds)

    @cached_property
    def tuning(self) -> Tuning | None:
        """What every arm tried; None if nothing was tuned."""
        tuning = Tuning.load(self.sweep.folder)
        return tuning if tuning is not None and any(tuning.trials.values()) else None


@dataclass(frozen=True)
class Section:
    """One section.

    id: its anchor, and its template `page/ID.html.j2`. title: its name in the contents. shown: whether this
    report has it. html: the values that its template needs. markdown: its paragraphs in report.md; None for a
    section of pictures. links: further (anchor, name) pairs in the contents.
    """

    id: str
    title: str
    html: Callable[[Report], dict[str, Any]]
    markdown: Callable[[Report], Iterator[str]] | None = None
    shown: Callable[[Report], bool] = lambda report: True
    links: tuple[tuple[str, str], ...] = ()
