"""Each item's share of a metric, so that items can be paired between arms, whatever the metric is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.evidence.metrics import Metric
from experiments.evidence.metrics.metric import judged, once


def values(metric: Metric, rows: pd.DataFrame) -> pd.Series:
    """Jackknife pseudo-values of each row's item, in the metric's unit; of a mean, the items themselves.

    n·θ − (n − 1)·θ without item i (Tukey 1958); of each finetuning seed, and of each group of a metric that
    is a mean over groups, by itself. Not a number where there is one item alone.
    """
    keys = [key for key in ("finetuning_seed", metric.groups) if key is not None and key in rows]
    parts = [part for _, part in rows.groupby(keys)] if keys else [rows]
    return pd.concat([_of(metric, part) for part in parts]).reindex(rows.index)


def _of(metric: Metric, rows: pd.DataFrame) -> pd.Series:
    weighted, items = judged(metric, rows)
    if items < 2:
        return pd.Series(np.nan, index=rows.index)
    shares = items * once(weighted, items) - (items - 1) * weighted.without_each(items)
    return pd.Series(shares, index=rows.index)
