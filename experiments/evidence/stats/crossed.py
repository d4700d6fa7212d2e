"""Whether a difference between two arms is more than its seeds and items would give: tests, equivalence, A/A.

A contrast is D[s, i], one number a seed and item: one arm's score less the other's. Both are samples: another
seed and another item would give other numbers, and a test over one of them alone takes the other's luck for a
finding.
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
        """The larger of the two: a finding needs both."""
        return max(self.p_crossed, self.p_sign_flip)


def crossed_test(differences: np.ndarray, null: float = 0.0, confidence: float = 0.95) -> Test:
    """Seeds and items as crossed random effects, and the exact sign-flip over seeds beside it; two-sided.

    `differences` is D (S, I), S ≥ 2. t = (mean − null)/√V with V = max(MS_s + MS_i − MS_r, MS_s, MS_i)/(S·I),
    `Squares.error` and `Squares.df` (Clark, 1973; Baayen, Davidson and Bates, 2008; Satterthwaite, 1946).
    With one item it is Student's t over seeds. Where nothing varies there is no error to divide by: t is 0
    and p_crossed 1 at the null, t infinite and p_crossed 0 elsewhere; p_sign_flip still says how little so
    few seeds can show.

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
    """(mean − null)/error, of any leading shape; where the error is 0: 0 at the null, else infinite."""
    gap, error = np.asarray(mean) - null, squares.error
    nothing = np.abs(gap) <= ROUNDING * np.maximum(np.abs(mean), abs(null))
    without_error = np.where(nothing, 0.0, np.copysign(np.inf, gap))
    return np.divide(gap, error, out=without_error, where=error > 0)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests: the larger p, and the interval inside ±margin where the crossed t passes."""

    p: float
    low: float
    high: float


def equivalence_test(differences: np.ndarray, margin: float, alpha: float = 0.05) -> Equivalence:
    """Whether the mean of D (S, I) lies within ±margin, in the unit of D (Schuirmann, 1987).

    Each side is tested twice as in `crossed_test`, and all four must be ≤ alpha. The interval is the crossed
    t's of 1 − 2·alpha. Below five seeds no sign-flip reaches .05.

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
    """Jackknife pseudo-values (items,), n·θ − (n − 1)·θ without item i: their mean stands for the metric.

    `metric` takes the indices of the items kept, int64. Of a mean they are the items themselves; of Matthews
    correlation, F1 or Spearman their mean is the metric less its bias of order 1/n (Tukey, 1958;
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
    """Correlation of two arms' means by seed and by item; None if a side does not vary.

    What pairing them brought: the variance of a difference is (1 − r) of that of unpaired arms
    alike in spread.
    """

    seeds: float | None
    items: float | None


def pairing(one: np.ndarray, two: np.ndarray) -> Pairing:
    """Realised correlation of two arms' scores, (S, I) each in the same order; two seeds always give ±1."""
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
    """A/A: the share of `times` in which `decide` finds a difference where there is none.

    `values` (2S, I) are ONE arm's under 2S seeds. Each time they are split at random into two halves, paired
    at random, and `decide` is asked about their difference (S, I). A rule that errs 5 times in 100 errs more
    than 10 times in 200 in every third such trial, by chance; more than 16 times in about one of fifty.

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
    found = sum(bool(decide(table[order[:half]] - table[order[half:]])) for order in orders)
    return found / times


def _table(differences: np.ndarray) -> np.ndarray:
    """(S, I) as float64, finite, two seeds at least."""
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"a contrast is seeds x items, not an array of shape {table.shape}")
    if len(table) < 2:
        raise UserError(f"a test over seeds takes at least two, not {len(table)}; add seeds to the sweep")
    finite(table)
    return table
