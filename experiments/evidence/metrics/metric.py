"""What a metric is: a value of a table's rows, and of any reweighting of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archs.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 500  # leave-one-out samples that are computed at a time
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Weighted:
    """A metric as a function of the weights of n items.

    of        (R, n) how often each item counts -> (R,) the metric of each of the R samples
    without   () -> (n,) the metric without each item, if it can be computed faster than by n samples
    """

    of: Score
    without: Callable[[], np.ndarray] | None = None

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self.of(weights)

    def without_each(self, items: int) -> np.ndarray:
        """Returns the metric without each of the n items: (n,)."""
        if self.without is not None:
            return self.without()
        parts = []
        for first in range(0, items, AT_ONCE):
            left_out = np.arange(first, min(first + AT_ONCE, items))
            weights = np.ones((len(left_out), items))
            weights[np.arange(len(left_out)), left_out] = 0
            parts.append(self.of(weights))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Metric:
    """A metric of a table with one row an item.

    name      as recipes spell it: "macro_f1"
    title     as tables head it: "Macro F1"
    unit      "% right", "correlation x 100", "0 to 100", "perplexity", "nats/byte" or "bits/byte"
    better    "higher" or "lower"
    columns   the columns that it reads
    prepare   rows of one finetuning seed -> the metric of any reweighting of them
    groups    a column: if the rows have it, the metric is the mean over its groups
    """

    name: str
    title: str
    unit: str
    better: str
    decimals: int
    columns: tuple[str, ...]
    prepare: Callable[[pd.DataFrame], Weighted]
    groups: str | None = None

    def text(self, value: float | None) -> str:
        """Returns the value as tables show it. None stands in files for NaN and infinity."""
        return "no number" if value is None else f"{value:.{self.decimals}f}"

    def of(self, rows: pd.DataFrame) -> float:
        """Returns the metric, in `unit`, the mean over finetuning seeds (column `finetuning_seed`)."""
        return float(np.mean([once(*judged(self, part)) for part in self.parts(rows)]))

    def parts(self, rows: pd.DataFrame) -> list[pd.DataFrame]:
        """Returns the rows of each group, in the order of their names; without groups, all rows as one."""
        self._check(rows)
        if self.groups is None or self.groups not in rows:
            return [rows]
        return [part for _, part in rows.groupby(self.groups)]

    def _check(self, rows: pd.DataFrame) -> None:
        missing = [column for column in self.columns if column not in rows]
        if missing:
            raise UserError(
                f"metric '{self.name}' reads the columns {', '.join(self.columns)}, and these rows have no "
                f"{', '.join(missing)}; choose a metric of this kind of task"
            )
        if not len(rows):
            raise UserError(f"metric '{self.name}' of no rows; give at least one item")


def judged(metric: Metric, rows: pd.DataFrame) -> tuple[Weighted, int]:
    """Returns the metric of any reweighting of `rows`, mean over finetuning seeds, and how many items."""
    if "finetuning_seed" not in rows:
        return metric.prepare(rows), len(rows)
    seeds = [part for _, part in rows.groupby("finetuning_seed", dropna=False)]
    if len(seeds) > 1:
        seeds = _aligned(seeds)
    of_seeds, items = [metric.prepare(part) for part in seeds], len(seeds[0])
    whole = Weighted(
        lambda weights: np.mean([weighted(weights) for weighted in of_seeds], axis=0),
        lambda: np.mean([weighted.without_each(items) for weighted in of_seeds], axis=0),
    )
    return whole, items


def once(weighted: Weighted, items: int) -> float:
    """Returns the metric where every item counts once."""
    return float(weighted(np.ones((1, items)))[0])


def summed(statistics: np.ndarray, score: Score) -> Weighted:
    """Returns a metric of sums over items. statistics (n, k): of each item; score: totals (R, k) -> (R,)."""
    return Weighted(
        lambda weights: score(weights @ statistics),
        lambda: score(statistics.sum(axis=0) - statistics),
    )


def mean(values: Iterable[float], times: float = 1.0) -> Weighted:
    """Returns a metric: the mean over items of `values`, times a constant."""
    of_items = np.asarray(list(values), dtype=float)
    return Weighted(
        lambda weights: times * (weights @ of_items) / weights.sum(axis=1),
        lambda: times * (of_items.sum() - of_items) / (len(of_items) - 1),
    )


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns above / below, and by convention 0 where below is 0."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below != 0)


def listed(cell: Iterable[str]) -> list[str]:
    """Returns a cell's strings as a list. Parquet reads a list back as an array."""
    if isinstance(cell, str):
        raise TypeError(f"a list of strings is needed, not the string '{cell[:40]}'")
    return [str(text) for text in cell]


def _aligned(seeds: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Sorts the rows of every finetuning seed by item, so that one draw of items serves all seeds."""
    if "item" not in seeds[0]:
        raise ValueError("rows of several finetuning seeds need the column item")
    seeds = [part.sort_values("item") for part in seeds]
    first = seeds[0]["item"].to_numpy()
    if any(not np.array_equal(first, part["item"].to_numpy()) for part in seeds[1:]):
        raise ValueError("the finetuning seeds were not asked the same items")
    return seeds
