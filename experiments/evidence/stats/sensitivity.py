"""Power analysis: how small a difference a number of seeds and items can show, given the variances."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from archs.errors import UserError
from experiments.evidence.stats.variances import Squares, Variances


def smallest_visible(
    variances: Variances, seeds: int, items: int, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Returns the true difference that is found, two-sided at `alpha`, with probability `power`.

    It is in the unit of D, from the noncentral t with the error and degrees of freedom that the variance
    components give. The usual (t_α + t_power)·error is within 1% of it at α = .05, but 3% too small at 8
    seeds and α = .0083; the exact value costs nothing.

    Both p-values of `crossed_test` must pass. If the sign-flip needs every seed on one side (6 seeds at .05,
    8 at Holm's .0083), it is the harder of the two tests, and the larger of their differences is returned;
    otherwise the power would be .60-.65, not .8. With one seed more (9 at .0083) the sign-flip still costs
    up to .12 of the power, with further seeds next to nothing. inf if the sign-flip cannot reach alpha,
    because 2/2^S is above it.

    Raises:
        UserError: fewer than two seeds or one item, or not 0 < alpha < power < 1.
    """
    _check(seeds, items, alpha, power)
    if 2.0 ** (1 - seeds) > alpha:
        return math.inf
    squares = Squares.expected(variances, seeds, items)
    df = float(squares.df)
    critical = special.stdtrit(df, 1 - alpha / 2)
    crossed = float(special.nctdtrinc(df, 1 - power, critical) * squares.error)
    if 2.0 ** (2 - seeds) > alpha:
        return max(crossed, _unanimous(variances, seeds, items, power))
    return crossed


def seeds_needed(
    variances: Variances,
    items: int,
    effect: float,
    alpha: float = 0.05,
    power: float = 0.8,
    most: int = 512,
) -> int | None:
    """Returns the fewest seeds, two or more, whose smallest visible difference is at most `effect`, or None.

    No number of seeds removes the items' own variance. If that alone hides the effect, the result is None.
    """
    if not effect > 0:
        raise UserError(f"an effect to plan for is above 0, not {effect}; its direction does not matter")
    counts = range(2, most + 1)
    visible = (n for n in counts if smallest_visible(variances, n, items, alpha, power) <= effect)
    return next(visible, None)


def _unanimous(variances: Variances, seeds: int, items: int, power: float) -> float:
    """Returns the difference at which all seeds' means are above 0 with probability `power`.

    Seeds share their items. Given the items' contribution, which is the same for every seed, they are
    independent.
    """
    if items == 1:
        own, shared = math.sqrt(variances.seed + variances.residual), 0.0
    else:
        own = math.sqrt(variances.seed + variances.residual / items)
        shared = math.sqrt(variances.item / items)
    if own == 0:
        return shared * float(special.ndtri(power))
    drawn = shared * special.ndtri((np.arange(500) + 0.5) / 500)

    def short(difference: float) -> float:
        return float(np.mean(special.ndtr((difference + drawn) / own) ** seeds)) - power

    most = own * float(special.ndtri(power ** (1 / seeds))) + float(drawn[-1])
    root = optimize.brentq(short, -most - own, most + own)
    return max(float(root), 0.0)  # type: ignore[arg-type]


def _check(seeds: int, items: int, alpha: float, power: float) -> None:
    if seeds < 2 or items < 1:
        raise UserError(f"a crossed test takes at least two seeds and one item, not {seeds} and {items}")
    if not 0 < alpha < power < 1:
        raise UserError(f"alpha and power are 0 < alpha < power < 1, not {alpha} and {power}")
