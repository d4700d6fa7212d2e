"""Metrics of classification: label and predicted are integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archs.errors import UserError
from experiments.evidence.metrics.metric import Metric, Weighted, mean, ratio, summed

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("label", "predicted")


def _accuracy(rows: pd.DataFrame) -> Weighted:
    return mean(rows["label"].to_numpy() == rows["predicted"].to_numpy(), times=100)


def _f1(rows: pd.DataFrame) -> Weighted:
    """F1 of class 1 against class 0, as scikit-learn's `f1_score`; 0 if class 1 occurs nowhere."""
    label, predicted = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    classes = np.union1d(label, predicted).tolist()
    if not set(classes) <= {0, 1}:
        raise UserError(f"metric 'f1' is of the classes 0 and 1, these rows have {classes}; choose macro_f1")
    counts = np.stack([(label == 1) & (predicted == 1), label == 1, predicted == 1], axis=1)
    return summed(counts.astype(float), lambda totals: 100 * f1_of(*totals.T))


def _macro_f1(rows: pd.DataFrame) -> Weighted:
    """The mean of the classes' F1, as in scikit-learn, without classes that neither column has."""
    label, predicted = _one_hot(rows)
    classes = label.shape[1]

    def score(totals: np.ndarray) -> np.ndarray:
        hits, labels, predictions = np.split(totals, [classes, 2 * classes], axis=1)
        return 100 * f1_of(hits, labels, predictions).sum(axis=1) / (labels + predictions > 0).sum(axis=1)

    return summed(np.hstack([label * predicted, label, predicted]), score)


def _matthews(rows: pd.DataFrame) -> Weighted:
    """Matthews 1975, for more than two classes Gorodkin 2004; 0 if either column is constant."""
    label, predicted = _one_hot(rows)
    classes = label.shape[1]

    def score(totals: np.ndarray) -> np.ndarray:
        labels, predictions, right = np.split(totals, [classes, 2 * classes], axis=1)
        items = labels.sum(axis=1)
        covariance = items * right[:, 0] - (labels * predictions).sum(axis=1)
        spread = (items**2 - (labels**2).sum(axis=1)) * (items**2 - (predictions**2).sum(axis=1))
        return 100 * ratio(covariance, np.sqrt(spread))

    right = (label * predicted).sum(axis=1, keepdims=True)
    return summed(np.hstack([label, predicted, right]), score)


def f1_of(hits: np.ndarray, wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Returns 2 hits / (wanted + given), the harmonic mean of precision and recall; 0 if both are empty."""
    return ratio(2 * hits, wanted + given)


def _one_hot(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns label and predicted as one-hot arrays (n, C), over the classes that either has."""
    label, predicted = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    classes = np.union1d(label, predicted)
    return (label[:, None] == classes).astype(float), (predicted[:, None] == classes).astype(float)


CLASSES = (
    Metric("accuracy", "Accuracy", "% right", "higher", 1, COLUMNS, _accuracy),
    Metric("f1", "F1", "0 to 100", "higher", 1, COLUMNS, _f1),
    Metric("macro_f1", "Macro F1", "0 to 100", "higher", 1, COLUMNS, _macro_f1),
    Metric("matthews", "Matthews correlation", "correlation x 100", "higher", 1, COLUMNS, _matthews),
)
