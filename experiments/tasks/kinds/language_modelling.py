"""Language modelling: the likelihood of whole documents."""

from __future__ import annotations

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import Example, Kind, text_of
from experiments.tasks.kinds.cloze import text


def example(row: Example, task: TaskConfig) -> Example:
    return {"text": text_of(row, "text")}


LANGUAGE_MODELLING = Kind(
    name="language_modelling",
    required=("text",),
    optional=(),
    metrics=("bits_per_byte",),
    modes=("zero_shot",),
    example=example,
    text=text,
    truncation="nothing is cut: each half window is asked once, given the half before it",
)
