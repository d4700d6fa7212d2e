"""Tests of a difference between two arms over seeds and items: crossed test, equivalence, A/A.

A contrast is D[s, i], one number a seed and item: one arm's score less the other's. Seeds and items are both
samples: other seeds and other items would give other numbers. A test over only one of them takes the chance
of the other for a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from archs.errors import UserError
from experiments.evidence.stats.flips import sign_flip
from experiments.evidence.stats.variances import ROUNDING, Squares, Variances, finite


@dataclass(frozen=True)
class Test:
    """A contrast's mean against `null`, in the unit of D: its standard error, t, p-values, interval."""

    __test__ = False  # its name would have pytest collect it

    mean: float
    error: float
    df: float
    t: float
    p_crossed: float
    p_sign_flip: float
    low: float
    high: float
    seeds: int
    items: int
    variances: Variances

    @property
    def p(self) -> float:
        """The larger of the two p-values, because a finding needs both."""
        return max(self.p_crossed, self.p_sign_flip)


def crossed_test(differences: np.ndarray, null: float = 0.0, confidence: float = 0.95) -> Test:
    """Tests a contrast with seeds and items as crossed random effects, and by a sign-flip over seeds.

    Both tests are two-sided. `differences` is D (S, I), S ≥ 2.
    t = (mean − null)/√V with V = max(MS_s + MS_i − MS_r, MS_s, MS_i)/(S·I): see `Squares.error` and
    `Squares.df` (Clark, 1973; Baayen, Davidson and Bates, 2008; Satterthwaite, 1946).
    With one item it is Student's t over seeds. If nothing varies there is no error to divide by: at the null
    t is 0 and p_crossed 1, elsewhere t is infinite and p_crossed 0. p_sign_flip still shows how little so few
    seeds can tell.

    Raises:
        UserError: one seed, or a value that is not finite.
    """
    if not 0 < confidence < 1:
        raise UserError(f"a confidence is between 0 and 1, not {confidence}; 0.95 is usual")
    table = _table(differences)
    squares = Squares.of(table)
    mean, error, df = float(table.mean()), float(squares.error), float(squares.df)
    t = float(student(table.mean(), squares, null))
    half = float(special.stdtrit(df, (1 + confidence) / 2)) * error
    return Test(
        mean=mean,
        error=error,
        df=df,
        t=t,
        p_crossed=2 * float(special.stdtr(df, -abs(t))),
        p_sign_flip=sign_flip(table.mean(1), null),
        low=mean - half,
        high=mean + half,
        seeds=table.shape[0],
        items=table.shape[1],
        variances=squares.variances,
    )


def student(mean: np.ndarray, squares: Squares, null: float) -> np.ndarray:
    """Returns (mean − null)/error, of any leading shape; if the error is 0: 0 at the null, else infinite."""
    gap, error = np.asarray(mean) - null, squares.error
    nothing = np.abs(gap) <= ROUNDING * np.maximum(np.abs(mean), abs(null))
    without_error = np.where(nothing, 0.0, np.copysign(np.inf, gap))
    return np.divide(gap, error, out=without_error, where=error > 0)


@dataclass(frozen=True)
class Equivalence:
    """The result of two one-sided tests: the larger p, and an interval.

    The interval is inside ±margin if the crossed t passes.
    """

    p: float
    low: float
    high: float


def equivalence_test(differences: np.ndarray, margin: float, alpha: float = 0.05) -> Equivalence:
    """Tests whether the mean of D (S, I) lies within ±margin, in the unit of D (Schuirmann, 1987).

    Each side is tested twice, as in `crossed_test`, and all four p-values must be ≤ alpha. The interval is
    the crossed t's, of 1 − 2·alpha. With fewer than five seeds no sign-flip reaches .05.

    Raises:
        UserError: a margin that is not above 0, one seed, or a value that is not finite.
    """
    if not margin > 0:
        raise UserError(f"a margin of equivalence is above 0, not {margin}; fix it before the run")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha of two one-sided tests is between 0 and 0.5, not {alpha}")
    table = _table(differences)
    squares, per_seed = Squares.of(table), table.mean(1)
    above = special.stdtr(squares.df, -student(table.mean(), squares, -margin))
    below = special.stdtr(squares.df, student(table.mean(), squares, margin))
    flips = sign_flip(per_seed, -margin, "greater"), sign_flip(per_seed, margin, "less")
    test = crossed_test(table, confidence=1 - 2 * alpha)
    return Equivalence(max(float(above), float(below), *flips), test.low, test.high)


def pseudo_values(metric: Callable[[np.ndarray], float], items: int) -> np.ndarray:
    """Returns the jackknife pseudo-values (items,), n·θ − (n − 1)·θ without item i.

    `metric` takes the indices of the items kept, int64. For a mean they are the items themselves. For
    Matthews correlation, F1 or Spearman their mean is the metric less its bias of order 1/n (Tukey, 1958;
    Miller, 1974).

    Raises:
        UserError: fewer than two items, or a metric that some items leave undefined.
    """
    if items < 2:
        raise UserError(f"pseudo-values leave one item out and take at least two, not {items}")
    every = np.arange(items)
    left = np.array([metric(np.delete(every, item)) for item in every], dtype=float)
    values = items * float(metric(every)) - (items - 1) * left
    finite(values)
    return values


@dataclass(frozen=True)
class Pairing:
    """The correlation of two arms' means over seeds and over items; None if an arm does not vary.

    It tells what pairing gained: for arms of equal spread, the variance of a paired difference is (1 − r)
    times that of an unpaired one.
    """

    seeds: float | None
    items: float | None


def pairing(one: np.ndarray, two: np.ndarray) -> Pairing:
    """Returns the correlation of two arms' scores, each (S, I) in one order. Two seeds always give ±1."""
    first, second = _table(one), _table(two)
    if first.shape != second.shape:
        raise ValueError(f"paired arms have the same seeds and items, not {first.shape} and {second.shape}")
    return Pairing(*(_correlation(first.mean(axis), second.mean(axis)) for axis in (1, 0)))


def _correlation(one: np.ndarray, two: np.ndarray) -> float | None:
    spreads = []
    for side in (one, two):
        around = side - side.mean()
        if np.abs(around).max() <= ROUNDING * np.abs(side).max():
            return None
        spreads.append(around / np.linalg.norm(around))
    return float(np.clip(np.dot(*spreads), -1, 1))


def relabelled(
    values: np.ndarray, decide: Callable[[np.ndarray], bool], times: int = 200, seed: int = 0
) -> float:
    """A/A: returns the share of `times` in which `decide` finds a difference where there is none.

    `values` (2S, I) are ONE arm's, of 2S seeds. Each time they are split at random into two halves, paired
    at random, and `decide` gets their difference (S, I). A rule that errs 5 times in 100 errs by chance more
    than 10 times in 200 in every third such trial, and more than 16 times in about one of fifty.

    Raises:
        UserError: an odd number of seeds, fewer than four, or a value that is not finite.
    """
    table = _table(values)
    half, odd = divmod(len(table), 2)
    if odd or half < 2:
        raise UserError(f"A/A splits one arm's seeds in two: an even number from four on, not {len(table)}")
    if times < 1:
        raise UserError(f"A/A takes at least one relabelling, not {times}")
    draw = np.random.default_rng(seed)
    orders = (draw.permutation(2 * half) for _ in range(times))
    count = sum(bool(decide(table[order[:half]] - table[order[half:]])) for order in orders)
    return count / times


def _table(differences: np.ndarray) -> np.ndarray:
    """Returns (S, I) as float64. Raises UserError unless it is finite and has two seeds or more."""
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"a contrast is seeds x items, not an array of shape {table.shape}")
    if len(table) < 2:
        raise UserError(f"a test over seeds takes at least two, not {len(table)}; add seeds to the sweep")
    finite(table)
    return table
