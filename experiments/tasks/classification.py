"""Classification of one text or a pair."""

from __future__ import annotations

from archs.errors import nearest
from experiments.tasks import frozen, static
from experiments.tasks.baselines import baselines_for_classification
from experiments.tasks.encoding import POLICY
from experiments.tasks.grid import answer
from experiments.tasks.kind import Answer, Example, Kind, Question, text_of
from experiments.tasks.pooled import preparing
from experiments.tasks.task import TaskConfig


def example(row: Example, task: TaskConfig) -> Example:
    """The label as its number: the column holds numbers, or names of the task's labels."""
    texts = {role: text_of(row, role) for role in ("text", "text_pair") if role in row}
    return texts | {"label": _label(row["label"], task)}


def _label(value: object, task: TaskConfig) -> int:
    if isinstance(value, str) and value in task.labels:
        return task.labels.index(value)
    number = int(value) if isinstance(value, int | float) and value == int(value) else value
    if isinstance(value, str) and value.strip().isdigit():  # all that CSV has is text
        number = int(value)
    if isinstance(number, int) and 0 <= number < len(task.labels):
        return number
    names = ", ".join(nearest(value, task.labels) if isinstance(value, str) else task.labels)
    raise ValueError(
        f"its label is {value!r}, must be one of: {names}, or a number from 0 to {len(task.labels) - 1}; "
        "set task.labels=[…] to all of them"
    )


def text(example: Example) -> str:
    return "\n".join(str(example[role]) for role in ("text", "text_pair") if role in example)


def finetuned(question: Question) -> Answer:
    grid = question.ask.finetune
    return answer(question, preparing(question, len(question.task.labels)), grid.poolings)


def frozen_states(question: Question) -> Answer:
    return frozen.of_pooled(question, len(question.task.labels))


def static_vectors(question: Question) -> Answer:
    return static.of_pooled(question, len(question.task.labels))


CLASSIFICATION = Kind(
    name="classification",
    required=("text", "label"),
    optional=("text_pair",),
    metrics=("accuracy", "macro_f1"),
    modes={"finetuned": finetuned, "frozen": frozen_states, "static": static_vectors},
    example=example,
    text=text,
    policy=POLICY,
    baselines=baselines_for_classification,
)
