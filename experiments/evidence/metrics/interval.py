"""95% intervals of a metric, by resampling its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.evidence.metrics.metric import Metric, Weighted, judged, once

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
WEIGHTS = 2**20  # how many are held at once


@dataclass(frozen=True)
class Measured:
    """A metric's value with its 95% interval, in the metric's unit.

    items   how many items, each counted once however many finetuning seeds answered it
    how     how the interval was made, in words
    """

    value: float
    low: float
    high: float
    items: int
    how: str


def measured(metric: Metric, rows: pd.DataFrame, seed: int = 0, resamples: int = 1000) -> Measured:
    """The metric of rows, one an item (and finetuning seed), with an interval over items.

    Percentile bootstrap over items (Efron 1979); all finetuning seeds share each draw, so what varies from
    seed to seed is not in the interval. Of a metric that is a mean over groups, Student's t over the groups,
    where there are two or more.
    """
    parts = metric.parts(rows)
    if len(parts) == 1:
        return measured_within_groups(metric, rows, seed, resamples)
    from experiments.evidence.stats.student import (
        half_width,  # scipy, which who reads METRICS alone does without
    )

    prepared = [judged(metric, part) for part in parts]
    values = np.array([once(*each) for each in prepared])
    half = half_width(values)
    items = sum(count for _, count in prepared)
    value = float(values.mean())
    return Measured(value, value - half, value + half, items, f"Student's t over {metric.groups}s")


def measured_within_groups(
    metric: Metric, rows: pd.DataFrame, seed: int = 0, resamples: int = 1000
) -> Measured:
    """The same value, with the interval of having sampled some items of each group.

    Stratified percentile bootstrap: the groups are given, items are drawn inside each. That is the question
    for a subset of a task: how far might it be from the number on all of its items?
    """
    prepared = [judged(metric, part) for part in metric.parts(rows)]
    generator = np.random.default_rng(seed)
    draws = np.mean([resampled(*each, generator, resamples) for each in prepared], axis=0)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    how = "bootstrap over items"
    if len(prepared) > 1:
        how += f" within {metric.groups}s"
    value = float(np.mean([once(*each) for each in prepared]))
    return Measured(value, float(low), float(high), sum(count for _, count in prepared), how)


def resampled(weighted: Weighted, items: int, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """(resamples,) the metric of as many items drawn with replacement, each time anew."""
    step = max(1, WEIGHTS // items)
    sizes: Sequence[int] = [min(step, resamples - start) for start in range(0, resamples, step)]
    return np.concatenate([weighted(_counts(size, items, generator)) for size in sizes])


def _counts(resamples: int, items: int, generator: np.random.Generator) -> np.ndarray:
    """(resamples, items) how often each item was drawn."""
    drawn = generator.integers(0, items, (resamples, items)) + items * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * items).reshape(resamples, items).astype(float)
