"""The sign-flip test over seeds: without a true difference, each seed's could have the other sign."""

from __future__ import annotations

from typing import Literal

import numpy as np

from experiments.evidence.stats.variances import ROUNDING, TIES, finite

Alternative = Literal["two-sided", "greater", "less"]
EXACT_SEEDS = 20  # 2^20 assignments of signs are 8 MB
RANDOM_FLIPS = 100_000


def sign_flip(per_seed: np.ndarray, null: float = 0.0, alternative: Alternative = "two-sided") -> float:
    """Returns the share of all 2^S sign assignments to `per_seed` − null (S,) with a sum at least as extreme.

    It is exact for up to 20 seeds (Fisher, 1935); the least value is 2/2^S two-sided and 1/2^S one-sided. For
    more seeds it is the share of 100,000 random assignments, always the same, and the observed one (Phipson
    and Smyth, 2010). "greater" tests whether the mean is above `null`. The items are taken as fixed.
    """
    values = np.asarray(per_seed, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"a sign-flip takes one mean a seed, not an array of shape {values.shape}")
    finite(values)
    if len(values) <= EXACT_SEEDS:
        return float(exact_flips(values, null, alternative))
    draw, shape = np.random.default_rng(0), (1000, len(values))
    blocks = (2 * draw.integers(0, 2, shape, dtype=np.int8) - 1 for _ in range(RANDOM_FLIPS // 1000))
    sums = np.concatenate([block @ (values - null) for block in blocks])
    return float((1 + _extreme(sums, values, null, alternative).sum()) / (1 + RANDOM_FLIPS))


def exact_flips(values: np.ndarray, null: float, alternative: Alternative) -> np.ndarray:
    """Returns `sign_flip` over all assignments, for values (..., S): shape (...)."""
    sums = np.zeros((*values.shape[:-1], 1))
    for seed in range(values.shape[-1]):
        gap = values[..., seed, None] - null
        sums = np.concatenate([sums + gap, sums - gap], axis=-1)
    return _extreme(sums, values, null, alternative).mean(-1)


def _extreme(sums: np.ndarray, values: np.ndarray, null: float, alternative: Alternative) -> np.ndarray:
    gaps = values - null
    scale = np.maximum(np.abs(values), abs(null)).sum(-1, keepdims=True)
    tolerance = TIES * np.abs(gaps).sum(-1, keepdims=True) + ROUNDING * scale
    observed = gaps.sum(-1, keepdims=True)
    if alternative == "two-sided":
        return np.abs(sums) >= np.abs(observed) - tolerance
    direction = {"greater": 1, "less": -1}[alternative]
    return direction * sums >= direction * observed - tolerance
