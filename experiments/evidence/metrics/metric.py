"""What a metric is: a number of a table's rows, and of any reweighting of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archs.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 500  # samples of all items but one in one product
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Weighted:
    """A metric of any reweighting of n items.

    of        (R, n) how often each item counts -> (R,) the metric of each of the R samples
    without   (n,) the metric without each item, where there is a shorter way than n samples of n items
    """

    of: Score
    without: Callable[[], np.ndarray] | None = None

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return self.of(weights)

    def without_each(self, items: int) -> np.ndarray:
        """(n,) the metric of all n items but one."""
        if self.without is not None:
            return self.without()
        found = []
        for first in range(0, items, AT_ONCE):
            left_out = np.arange(first, min(first + AT_ONCE, items))
            weights = np.ones((len(left_out), items))
            weights[np.arange(len(left_out)), left_out] = 0
            found.append(self.of(weights))
        return np.concatenate(found)


@dataclass(frozen=True)
class Metric:
    """A metric of a table with one row an item.

    name      as recipes spell it: "macro_f1"
    title     as tables head it: "Macro F1"
    unit      "% right", "correlation x 100", "0 to 100", "perplexity", "nats/byte" or "bits/byte"
    better    "higher" or "lower"
    columns   what it reads of a row
    prepare   reads rows of one finetuning seed once, and gives the metric of any reweighting of them
    groups    a column: where the rows have it, the metric is the mean over its groups
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
        """As tables show it; None is what a file holds in place of a value that is no number, or infinite."""
        return "no number" if value is None else f"{value:.{self.decimals}f}"

    def of(self, rows: pd.DataFrame) -> float:
        """The value, in `unit`; of several finetuning seeds (column `finetuning_seed`) their mean."""
        return float(np.mean([once(*judged(self, part)) for part in self.parts(rows)]))

    def parts(self, rows: pd.DataFrame) -> list[pd.DataFrame]:
        """The rows of each group, in the order of their names; without groups, all rows as one."""
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
    """The metric of any reweighting of the items of `rows`, mean over finetuning seeds; how many items."""
    if "finetuning_seed" not in rows:
        return metric.prepare(rows), len(rows)
    seeds = [part for _, part in rows.groupby("finetuning_seed", dropna=False)]
    if len(seeds) > 1:
        seeds = _aligned(seeds)
    each, items = [metric.prepare(part) for part in seeds], len(seeds[0])
    whole = Weighted(
        lambda weights: np.mean([weighted(weights) for weighted in each], axis=0),
        lambda: np.mean([weighted.without_each(items) for weighted in each], axis=0),
    )
    return whole, items


def once(weighted: Weighted, items: int) -> float:
    """The metric where every item counts once."""
    return float(weighted(np.ones((1, items)))[0])


def summed(statistics: np.ndarray, score: Score) -> Weighted:
    """A metric of sums over items: `statistics` (n, k) of each item, `score` from totals (R, k) to (R,)."""
    return Weighted(
        lambda weights: score(weights @ statistics),
        lambda: score(statistics.sum(axis=0) - statistics),
    )


def mean(values: Iterable[float], times: float = 1.0) -> Weighted:
    """The mean over items of `values`, times a constant."""
    each = np.asarray(list(values), dtype=float)
    return Weighted(
        lambda weights: times * (weights @ each) / weights.sum(axis=1),
        lambda: times * (each.sum() - each) / (len(each) - 1),
    )


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, and 0 where below is 0: the convention for a score of which nothing was asked."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below != 0)


def listed(cell: Iterable[str]) -> list[str]:
    """A cell that holds several strings; parquet gives them back as an array."""
    if isinstance(cell, str):
        raise TypeError(f"a list of strings is needed, not the string '{cell[:40]}'")
    return [str(one) for one in cell]


def _aligned(seeds: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The same items in the same order for every finetuning seed, so that one draw of items serves all."""
    if "item" not in seeds[0]:
        raise ValueError("rows of several finetuning seeds need the column item")
    seeds = [part.sort_values("item") for part in seeds]
    first = seeds[0]["item"].to_numpy()
    if any(not np.array_equal(first, part["item"].to_numpy()) for part in seeds[1:]):
        raise ValueError("the finetuning seeds were not asked the same items")
    return seeds
