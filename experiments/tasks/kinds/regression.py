"""Regression: predict a number for one text or a pair."""

from __future__ import annotations

import math

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.baselines import baselines_for_regression
from experiments.tasks.kind import LEARNED, Example, Kind
from experiments.tasks.kinds.texts import TRUNCATION, text, texts_of


def example(row: Example, task: TaskConfig) -> Example:
    texts = texts_of(row)
    try:
        label = float(row["label"])
    except (TypeError, ValueError):
        label = math.nan
    if not math.isfinite(label):
        raise ValueError(f"its label is {row['label']!r}, must be a finite number")
    return texts | {"label": label}


REGRESSION = Kind(
    name="regression",
    required=("text", "label"),
    optional=("text_pair",),
    metrics=("spearman", "pearson"),
    modes=LEARNED,
    example=example,
    text=text,
    truncation=TRUNCATION,
    baselines=baselines_for_regression,
)
