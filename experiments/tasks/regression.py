"""Regression: a number for one text or a pair."""

from __future__ import annotations

import math

from experiments.tasks.baselines import baselines_for_regression
from experiments.tasks.encoding import POLICY
from experiments.tasks.kind import Example, Kind
from experiments.tasks.task import TaskConfig
from experiments.tasks.texts import modes, text, texts_of


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
    modes=modes(lambda task: None),
    example=example,
    text=text,
    policy=POLICY,
    baselines=baselines_for_regression,
)
