"""What an endpoint is: what of a run's scores it reads, in which unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # plans and mistakes need none of these
    import pandas as pd


TASK = "task:"  # what the name of an endpoint on standard tasks begins with


@dataclass(frozen=True)
class Asked:
    """A standard task as an endpoint reads it; its words are the task, and the mode where that is unusual."""

    task: str
    mode: str
    metric: str
    words: str

    @property
    def endpoint(self) -> str:
        """The name, in full, of the endpoint on this task alone."""
        return f"{TASK}{self.task}@{self.mode}:{self.metric}"


@dataclass(frozen=True)
class Measure:
    """Sum of `numerator` over that of `denominator` (None: the number of rows), times `times`, of a table.

    asked: the standard task that the table is of, whose rows hold pseudo-values already; None of others.
    """

    table: str
    numerator: str
    denominator: str | None = None
    times: float = 1.0
    unit_of_likelihood: str | None = None  # "nll" or "pll": rows of another unit are not this measure
    asked: Asked | None = None

    @property
    def pseudo(self) -> bool:
        """Whether an item's value is a jackknife pseudo-value."""
        return self.denominator is not None or self.asked is not None

    def holds(self, rows: pd.DataFrame) -> bool:
        if self.unit_of_likelihood is None or (self.asked is not None and "unit" not in rows):
            return True
        return set(rows["unit"]) == {self.unit_of_likelihood}


@dataclass(frozen=True)
class Prior:
    """Standard deviations of the difference of two arms, in the endpoint's unit, that `plan` counts with.

    seed: of its mean over items, from one pretraining seed to the next; item: of an item's mean over seeds;
    residual: what is left; items: how many there are.
    """

    seed: float
    item: float
    residual: float
    items: int


@dataclass(frozen=True)
class Endpoint:
    """measures: one, or several whose mean it is (a composite). switch: of EvaluationConfig, None if always.

    task: whether a model from scratch could do it too, so that it must pass the assay. other: the same
    question under another pooling, shown beside it and never decided on. prior: as measured by
    docs/results/claims_micro.md, but where said.
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
        """Of a composite the endpoints on each of its standard tasks alone, else none."""
        asked = [each.asked for each in self.measures if each.asked is not None]
        return [each.endpoint for each in asked] if len(asked) > 1 else []

    def text(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"
