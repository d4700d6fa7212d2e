"""Regression: a number for one text or a pair."""

from __future__ import annotations

import math

from experiments.tasks import frozen, static
from experiments.tasks.baselines import baselines_for_regression
from experiments.tasks.classification import text
from experiments.tasks.encoding import POLICY
from experiments.tasks.grid import answer
from experiments.tasks.kind import Answer, Example, Kind, Question, text_of
from experiments.tasks.pooled import preparing
from experiments.tasks.task import TaskConfig


def example(row: Example, task: TaskConfig) -> Example:
    texts = {role: text_of(row, role) for role in ("text", "text_pair") if role in row}
    try:
        label = float(row["label"])
    except (TypeError, ValueError):
        label = math.nan
    if not math.isfinite(label):
        raise ValueError(f"its label is {row['label']!r}, must be a finite number")
    return texts | {"label": label}


def finetuned(question: Question) -> Answer:
    return answer(question, preparing(question, None), question.ask.finetune.poolings)


def frozen_states(question: Question) -> Answer:
    return frozen.of_pooled(question, None)


def static_vectors(question: Question) -> Answer:
    return static.of_pooled(question, None)


REGRESSION = Kind(
    name="regression",
    required=("text", "label"),
    optional=("text_pair",),
    metrics=("spearman", "pearson"),
    modes={"finetuned": finetuned, "frozen": frozen_states, "static": static_vectors},
    example=example,
    text=text,
    policy=POLICY,
    baselines=baselines_for_regression,
)
