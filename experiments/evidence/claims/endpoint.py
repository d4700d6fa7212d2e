"""What an endpoint is: the scores that it reads, its unit, and whether higher or lower is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import, and plans do not need it
    import pandas as pd


TASK = "task:"  # begins the name of an endpoint on standard tasks


@dataclass(frozen=True)
class Asked:
    """A standard task of an endpoint. words: the task, with the mode if it is not the default."""

    task: str
    mode: str
    metric: str
    words: str

    @property
    def endpoint(self) -> str:
        """The full name of the endpoint on this task alone."""
        return f"{TASK}{self.task}@{self.mode}:{self.metric}"


@dataclass(frozen=True)
class Measure:
    """times x the sum of column `numerator` / the sum of column `denominator`, of a table in scores/.

    denominator: None = the number of rows, which gives a mean. unit_of_likelihood: "nll" or "pll": rows of
    another unit are not this measure; None = any. asked: the standard task of the table, whose rows already
    hold pseudo-values; None for other tables.
    """

    table: str
    numerator: str
    denominator: str | None = None
    times: float = 1.0
    unit_of_likelihood: str | None = None
    asked: Asked | None = None

    @property
    def pseudo(self) -> bool:
        """Whether an item's value is a jackknife pseudo-value."""
        return self.denominator is not None or self.asked is not None

    def holds(self, rows: pd.DataFrame) -> bool:
        """Whether the rows are in the measure's unit of likelihood."""
        if self.unit_of_likelihood is None or (self.asked is not None and "unit" not in rows):
            return True
        return set(rows["unit"]) == {self.unit_of_likelihood}


@dataclass(frozen=True)
class Prior:
    """Assumed standard deviations of the difference of two arms, in the endpoint's unit, for `plan`.

    seed: of the mean over items, between pretraining seeds. item: of an item's mean over seeds. residual: of
    the rest. items: how many items there are.
    """

    seed: float
    item: float
    residual: float
    items: int


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of claims.

    measures  one, or several whose mean is the endpoint (a composite)
    prior     measured in docs/results/claims_micro.md, unless a comment says otherwise
    switch    the field of EvaluationConfig that turns it on; None = it is always measured
    task      whether an untrained model could do it too, so that it must pass the assay
    pooling   how hidden states are pooled, "" if they are not
    other     (pooling, measures): the same question under another pooling, shown but never decided on
    """

    title: str
    unit: str
    better: str
    decimals: int
    measures: tuple[Measure, ...]
    prior: Prior
    switch: str | None = None
    task: bool = True
    pooling: str = ""
    other: tuple[str, tuple[Measure, ...]] | None = None

    @property
    def sign(self) -> int:
        """+1 where larger is better."""
        return 1 if self.better == "higher" else -1

    @property
    def tasks(self) -> list[str]:
        """The endpoints on each task of a composite alone; [] if it is no composite of standard tasks."""
        tasks = [measure.asked for measure in self.measures if measure.asked is not None]
        return [task.endpoint for task in tasks] if len(tasks) > 1 else []

    def text(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"
