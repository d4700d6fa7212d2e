"""Metrics of regression: label and predicted are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.evidence.metrics.metric import Metric, Weighted, ratio

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("label", "predicted")
CONSTANT = 1e-12  # a smaller variance, as a share of the variance of all items, is rounding


def _pearson(rows: pd.DataFrame) -> Weighted:
    label, predicted = (_standardised(column) for column in _floats(rows))
    return Weighted(lambda weights: 100 * _correlation(weights, label, predicted))


def _spearman(rows: pd.DataFrame) -> Weighted:
    """Spearman's correlation. Every sample is ranked anew, so that an item drawn twice is a tie."""
    columns = _floats(rows)
    if any(np.isnan(column).any() for column in columns):
        return Weighted(lambda weights: np.full(len(weights), np.nan))
    places = [np.unique(column, return_inverse=True)[1] for column in columns]

    def of(weights: np.ndarray) -> np.ndarray:
        ranks = (_ranks(weights, place) for place in places)
        return 100 * _correlation(weights, *ranks)

    return Weighted(of)


def _ranks(weights: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns (R, n) centred ranks over n, ties at their mean. place (n,): the rank of its distinct value."""
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    ties = np.add.reduceat(weights[:, order], starts, axis=1)
    items = weights.sum(axis=1, keepdims=True)
    return ((np.cumsum(ties, axis=1) - (ties - 1) / 2 - (items + 1) / 2) / items)[:, place]


def _correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns (R,) Pearson's correlation of x and y, (n,) or (R, n); 0 if either is constant there."""
    items = weights.sum(axis=1)

    def average(values: np.ndarray) -> np.ndarray:
        return np.einsum("rn,rn->r", weights, np.broadcast_to(values, weights.shape)) / items

    mean_x, mean_y = average(x), average(y)
    variances = average(x * x) - mean_x**2, average(y * y) - mean_y**2
    covariance = average(x * y) - mean_x * mean_y
    spread = np.where(
        np.minimum(*variances) < CONSTANT, 0.0, np.sqrt(np.maximum(variances[0] * variances[1], 0))
    )
    return ratio(covariance, spread)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Returns the values with mean 0 and variance 1, so that moments lose no digits; 0 if all are equal."""
    if np.ptp(values) == 0:
        return np.zeros_like(values)
    return (values - values.mean()) / values.std()


def _floats(rows: pd.DataFrame) -> list[np.ndarray]:
    return [rows[column].to_numpy(dtype=float) for column in COLUMNS]


CORRELATIONS = (
    Metric("pearson", "Pearson correlation", "correlation x 100", "higher", 1, COLUMNS, _pearson),
    Metric("spearman", "Spearman correlation", "correlation x 100", "higher", 1, COLUMNS, _spearman),
)
