"""What kinds share that give one answer a text, or a pair: their texts, and the ways to ask for it."""

from __future__ import annotations

from collections.abc import Callable

from experiments.tasks import frozen, static
from experiments.tasks.grid import answer
from experiments.tasks.kind import Example, Mode, text_of
from experiments.tasks.pooled import preparing
from experiments.tasks.task import TaskConfig


def texts_of(row: Example) -> Example:
    """The roles text and, if there, text_pair. Raises ValueError if one is no text, or empty."""
    return {role: text_of(row, role) for role in ("text", "text_pair") if role in row}


def text(example: Example) -> str:
    return "\n".join(str(example[role]) for role in ("text", "text_pair") if role in example)


def modes(classes: Callable[[TaskConfig], int | None]) -> dict[str, Mode]:
    """The ways to ask such a kind. classes: how many a task has, None where the answer is a number."""
    return {
        "finetuned": lambda question: answer(
            question, preparing(question, classes(question.task)), question.ask.finetune.poolings
        ),
        "frozen": lambda question: frozen.of_pooled(question, classes(question.task)),
        "static": lambda question: static.of_pooled(question, classes(question.task)),
    }
