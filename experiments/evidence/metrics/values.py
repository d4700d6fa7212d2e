"""Computes each item's share of a metric, so that items can be paired between arms for any metric."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.evidence.metrics import Metric
from experiments.evidence.metrics.metric import judged, once


def values(metric: Metric, rows: pd.DataFrame) -> pd.Series:
    """Returns the jackknife pseudo-value of each row's item, in the metric's unit.

    It is n·θ − (n − 1)·θ without item i (Tukey 1958), which for a mean is the item's own value. Each
    finetuning seed is computed by itself, and so is each group of a metric that is a mean over groups. NaN if
    there is only one item.
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
