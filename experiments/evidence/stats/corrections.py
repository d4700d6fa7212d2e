"""Corrections for several tests: Holm for confirmatory claims, Benjamini-Hochberg for exploratory ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """Returns adjusted p-values in the order given (Holm, 1979). The chance of any false one ≤ α is ≤ α.

    [0.01, 0.04, 0.03] becomes [0.03, 0.06, 0.06].
    """
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    grown = values[order] * np.arange(len(values), 0, -1)
    return _unsorted(np.maximum.accumulate(grown), order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Returns adjusted p-values in the order given. Of those ≤ q, at most a share q is false on average.

    [0.01, 0.04, 0.03] becomes [0.03, 0.04, 0.04]. For independent or positively dependent tests (Benjamini
    and Hochberg, 1995; Benjamini and Yekutieli, 2001).
    """
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    shrunk = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _unsorted(np.minimum.accumulate(shrunk[::-1])[::-1], order)


def _checked(p: Sequence[float]) -> np.ndarray:
    values = np.asarray(p, dtype=float)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"p-values are a list of numbers in [0, 1], not {p}")
    return values


def _unsorted(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    back = np.empty_like(adjusted)
    back[order] = np.minimum(adjusted, 1.0)
    return back.tolist()
