"""Seeds and items as crossed random effects: mean squares, variance components, error, degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archs.errors import UserError

TIES = 1e-9  # numbers this close, relative to their size, differ only by rounding
ROUNDING = 1e-12  # a deviation below this share of the largest value is rounding


@dataclass(frozen=True)
class Variances:
    """Variance components of a contrast D[s, i], in the square of its unit; never negative.

    D[s, i] = mean + seed[s] + item[i] + residual[s, i]. The residual holds the interaction of seed and item,
    which one value for each seed and item cannot tell from noise. With one item all variance is the seed's.
    """

    seed: float
    item: float
    residual: float

    def __post_init__(self) -> None:
        if not all(0 <= part < np.inf for part in (self.seed, self.item, self.residual)):
            raise ValueError(f"variances are finite and at least 0: {self}")

    @property
    def shares(self) -> dict[str, float]:
        """Each component's share of their sum. The shares add up to 1, or are all 0 if nothing varies."""
        parts = {"seed": self.seed, "item": self.item, "residual": self.residual}
        largest = max(parts.values())
        if largest == 0:
            return parts
        scaled = {name: part / largest for name, part in parts.items()}  # the sum itself could overflow
        return {name: part / sum(scaled.values()) for name, part in scaled.items()}


@dataclass(frozen=True)
class Squares:
    """Mean squares of the two-way layout D (..., S, I) without replication, each of shape (...).

    With one item there is no second way: `item` and `residual` are 0, and the test is Student's t over seeds.
    """

    seeds: int
    items: int
    seed: np.ndarray
    item: np.ndarray
    residual: np.ndarray

    @classmethod
    def of(cls, differences: np.ndarray) -> Squares:
        """Returns the mean squares of D (..., S, I). One that differs from 0 only by rounding is 0."""
        seeds, items = differences.shape[-2:]
        of_seed = differences.mean(-1, keepdims=True)
        of_item = differences.mean(-2, keepdims=True)
        mean = differences.mean((-2, -1), keepdims=True)
        rest = differences - of_seed - of_item + mean
        smallest = (ROUNDING * np.abs(differences).max((-2, -1))) ** 2

        def square(deviations: np.ndarray, times: int, degrees: int) -> np.ndarray:
            found = times * (deviations**2).sum((-2, -1)) / max(degrees, 1)
            return np.where(found > smallest, found, 0.0)

        return cls(
            seeds,
            items,
            seed=square(of_seed - mean, items, seeds - 1),
            item=square(of_item - mean, seeds, items - 1),
            residual=square(rest, 1, (seeds - 1) * (items - 1)),
        )

    @classmethod
    def expected(cls, variances: Variances, seeds: int, items: int) -> Squares:
        """Returns the expected mean squares of these components."""
        seed = variances.residual + items * variances.seed
        item = variances.residual + seeds * variances.item
        if items == 1:  # the item's own value is in every seed's, so it adds no spread over seeds
            return cls(seeds, 1, np.asarray(seed), np.asarray(0.0), np.asarray(0.0))
        return cls(seeds, items, np.asarray(seed), np.asarray(item), np.asarray(variances.residual))

    @property
    def error(self) -> np.ndarray:
        """Standard error of the grand mean: √(max(MS_s + MS_i − MS_r, MS_s, MS_i) / (S·I)).

        MS_s + MS_i − MS_r is unbiased but may be small or negative by chance. The two others keep the error
        from falling below that of seeds or items alone.
        """
        crossed = self.seed + self.item - self.residual
        largest = np.maximum(crossed, np.maximum(self.seed, self.item))
        return np.sqrt(largest / (self.seeds * self.items))

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of `error`: those of the mean squares that it is made of.

        If the sum is the largest, they are Satterthwaite's (1946). If MS_s or MS_i is, they are its own S − 1
        or I − 1; of equal ones the fewer (scores that are right or wrong do tie, to within rounding). They
        are never below S − 1, which the difference in the sum could cause. With fewer items than seeds, and
        more than one, the bound is I − 1 instead, since S − 1 would claim more than the items hold: at 8
        seeds and 4 items false positives would rise from 5.7% to 10%.
        """
        seeds, items = self.seeds - 1, max(self.items - 1, 1)
        floor = seeds if self.items == 1 else min(seeds, items)
        crossed = self.seed + self.item - self.residual
        spread = self.seed**2 / seeds + self.item**2 / items + self.residual**2 / (seeds * items)
        least = self.residual * (1 - TIES)
        both = (self.seed >= least) & (self.item >= least) & (spread > 0)
        satterthwaite = crossed**2 / np.where(spread > 0, spread, 1.0)
        of_items = np.where(self.item > self.seed * (1 + TIES), items, floor)
        alone = np.where(self.seed > self.item * (1 + TIES), seeds, of_items)
        return np.maximum(np.where(both, satterthwaite, alone), floor)

    @property
    def variances(self) -> Variances:
        """The components by the method of moments, negative ones set to 0. For one contrast only."""
        seed, item, residual = float(self.seed), float(self.item), float(self.residual)
        return Variances(
            max(seed - residual, 0.0) / self.items, max(item - residual, 0.0) / self.seeds, residual
        )


def finite(values: np.ndarray) -> None:
    """Raises UserError if a value is missing or infinite."""
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise UserError(f"{wrong} of {values.size} values are not finite numbers; drop or mend them first")
