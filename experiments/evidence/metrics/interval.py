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
WEIGHTS = 2**20  # weights held in memory at once


@dataclass(frozen=True)
class Measured:
    """A metric's value with its 95% interval, in the metric's unit.

    items   the number of items, each counted once whatever the number of finetuning seeds
    how     how the interval was computed, in words
    """

    value: float
    low: float
    high: float
    items: int
    how: str


def measured(metric: Metric, rows: pd.DataFrame, seed: int = 0, resamples: int = 1000) -> Measured:
    """Returns the metric of rows, one an item (and finetuning seed), with a 95% interval over items.

    The interval is a percentile bootstrap over items (Efron 1979). All finetuning seeds share each draw, so
    the interval leaves out the variation between seeds. For a metric that is a mean over two or more groups,
    it is Student's t over the groups.
    """
    parts = metric.parts(rows)
    if len(parts) == 1:
        return measured_within_groups(metric, rows, seed, resamples)
    # Imports scipy, which readers of METRICS do not need.
    from experiments.evidence.stats.student import half_width

    prepared = [judged(metric, part) for part in parts]
    values = np.array([once(*group) for group in prepared])
    half = half_width(values)
    items = sum(count for _, count in prepared)
    value = float(values.mean())
    return Measured(value, value - half, value + half, items, f"Student's t over {metric.groups}s")


def measured_within_groups(
    metric: Metric, rows: pd.DataFrame, seed: int = 0, resamples: int = 1000
) -> Measured:
    """Returns the same value, with the interval for having sampled items inside each group.

    The interval is a stratified percentile bootstrap: the groups are fixed, items are drawn inside each. It
    tells how far the value on a subset of a task's items may be from the value on all of them.
    """
    prepared = [judged(metric, part) for part in metric.parts(rows)]
    generator = np.random.default_rng(seed)
    draws = np.mean([resampled(*group, generator, resamples) for group in prepared], axis=0)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    how = "bootstrap over items"
    if len(prepared) > 1:
        how += f" within {metric.groups}s"
    value = float(np.mean([once(*group) for group in prepared]))
    return Measured(value, float(low), float(high), sum(count for _, count in prepared), how)


def resampled(weighted: Weighted, items: int, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Returns the metric of `resamples` samples of as many items, drawn with replacement: (resamples,)."""
    step = max(1, WEIGHTS // items)
    sizes: Sequence[int] = [min(step, resamples - start) for start in range(0, resamples, step)]
    return np.concatenate([weighted(_counts(size, items, generator)) for size in sizes])


def _counts(resamples: int, items: int, generator: np.random.Generator) -> np.ndarray:
    """Returns how often each item was drawn: (resamples, items)."""
    drawn = generator.integers(0, items, (resamples, items)) + items * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * items).reshape(resamples, items).astype(float)
