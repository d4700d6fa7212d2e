"""Metrics of likelihoods: for minimal pairs, cloze questions, and texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from experiments.evidence.metrics.metric import Metric, Weighted, mean, summed

if TYPE_CHECKING:
    import pandas as pd


def _right(rows: pd.DataFrame) -> Weighted:
    return mean(rows["correct"], times=100)


def _perplexity(rows: pd.DataFrame) -> Weighted:
    """e to the mean nats of an item: of a whole word, whatever its number of tokens, as for LAMBADA."""
    nats = mean(rows["nats"])
    return Weighted(lambda weights: np.exp(nats(weights)), lambda: np.exp(nats.without_each(len(rows))))


def _per_byte(nats: float) -> Callable[[pd.DataFrame], Weighted]:
    """Returns a metric: summed nats over summed bytes, in units of `nats` nats."""

    def prepare(rows: pd.DataFrame) -> Weighted:
        sums = rows[["nats", "bytes"]].to_numpy(dtype=float)
        return summed(sums, lambda totals: totals[:, 0] / totals[:, 1] / nats)

    return prepare


def _of_texts(name: str, title: str, unit: str, nats: float) -> Metric:
    return Metric(name, title, unit, "lower", 3, ("nats", "bytes"), _per_byte(nats))


LIKELIHOODS = (
    Metric("pair_accuracy", "Minimal pairs", "% right", "higher", 1, ("correct",), _right, groups="paradigm"),
    Metric("cloze_accuracy", "Cloze", "% right", "higher", 1, ("correct",), _right),
    Metric("word_perplexity", "Perplexity of the word", "perplexity", "lower", 1, ("nats",), _perplexity),
    _of_texts("nats_per_byte", "Nats per byte", "nats/byte", 1.0),
    _of_texts("bits_per_byte", "Bits per byte", "bits/byte", math.log(2)),
)
