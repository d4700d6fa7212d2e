"""Classification of one text or a pair."""

from __future__ import annotations

from archs.errors import nearest
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.baselines import baselines_for_classification
from experiments.tasks.kind import LEARNED, Example, Kind
from experiments.tasks.kinds.texts import TRUNCATION, text, texts_of


def example(row: Example, task: TaskConfig) -> Example:
    """Returns the texts and the label's number. The column holds numbers, or names of the task's labels."""
    return texts_of(row) | {"label": _label(row["label"], task)}


def _label(value: object, task: TaskConfig) -> int:
    if isinstance(value, str) and value in task.labels:
        return task.labels.index(value)
    number = int(value) if isinstance(value, int | float) and value == int(value) else value
    if isinstance(value, str) and value.strip().isdigit():  # CSV holds only text
        number = int(value)
    if isinstance(number, int) and 0 <= number < len(task.labels):
        return number
    names = ", ".join(nearest(value, task.labels) if isinstance(value, str) else task.labels)
    raise ValueError(
        f"its label is {value!r}, must be one of: {names}, or a number from 0 to {len(task.labels) - 1}; "
        "set task.labels=[…] to all of them"
    )


CLASSIFICATION = Kind(
    name="classification",
    required=("text", "label"),
    optional=("text_pair",),
    metrics=("accuracy", "macro_f1"),
    modes=LEARNED,
    example=example,
    text=text,
    truncation=TRUNCATION,
    baselines=baselines_for_classification,
)
