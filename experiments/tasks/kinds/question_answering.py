"""Extractive question answering: the answer is a span of the context, or there is none."""

from __future__ import annotations

from typing import Any

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.baselines import baselines_for_question_answering
from experiments.tasks.kind import Example, Kind, text_of


def example(row: Example, task: TaskConfig) -> Example:
    """Returns context, question, answers and their spans in the context, in characters.

    answers: the correct texts, [] if the question has no answer. The column holds SQuAD's {"text": […],
    "answer_start": […]}, or a list of texts, whose first occurrence in the context is taken.
    """
    context, question, given = text_of(row, "context"), text_of(row, "question"), row["answers"]
    if isinstance(given, dict) and set(given) >= {"text", "answer_start"}:
        answers = _texts(given["text"])
        spans = _stated(answers, given["answer_start"], context)
    else:
        answers = _texts(given)
        spans = [_trimmed(context.find(each), each) for each in answers if each in context]
        if answers and not spans:
            raise ValueError(f"its answer '{answers[0]}' is not in its context; leave such items out")
    return {"context": context, "question": question, "answers": answers, "spans": spans}


def _texts(given: Any) -> list[str]:
    if not isinstance(given, list):
        raise ValueError(
            f"its answers is {type(given).__name__}, must be a list of texts, or of SQuAD "
            '{"text": […], "answer_start": […]}; neither fits into CSV'
        )
    for each in given:
        if not isinstance(each, str) or not each.strip():
            raise ValueError(
                f"one of its answers is {each!r}, must be text; an empty list says that there is none"
            )
    return given


def _stated(answers: list[str], starts: Any, context: str) -> list[list[int]]:
    if not isinstance(starts, list) or len(starts) != len(answers):
        raise ValueError(f"its {len(answers)} answers have answer_start {starts!r}, must be one number each")
    for each, start in zip(answers, starts, strict=True):
        text_at = context[start : start + len(each)] if isinstance(start, int) and start >= 0 else None
        if text_at != each:
            raise ValueError(
                f"its answer '{each}' does not stand at answer_start {start}, where its context has "
                f"{text_at!r}; count characters, not bytes"
            )
    return [_trimmed(start, each) for start, each in zip(starts, answers, strict=True)]


def _trimmed(start: int, answer: str) -> list[int]:
    """Returns the span of an answer without the white space around it, which may have no token."""
    start += len(answer) - len(answer.lstrip())
    return [start, start + len(answer.strip())]


def text(example: Example) -> str:
    """Returns the context, so that all questions about it are on one side of a split."""
    return example["context"]


QUESTION_ANSWERING = Kind(
    name="question_answering",
    required=("context", "question", "answers"),
    optional=(),
    metrics=("token_f1", "exact_match"),
    modes=("finetuned",),
    example=example,
    text=text,
    truncation=(
        "a question's end, if it has more than half the window; a context is read in windows that overlap by "
        "half, and an item counts if none of them holds an answer whole"
    ),
    baselines=baselines_for_question_answering,
)
