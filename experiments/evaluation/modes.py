"""The function that evaluates a run on a task, for each kind of task and each mode."""

from __future__ import annotations

from collections.abc import Callable

from experiments.evaluation.finetuned import generation as finetuned_generation
from experiments.evaluation.finetuned import question_answering, tagging
from experiments.evaluation.finetuned.grid import answer
from experiments.evaluation.finetuned.pooled import preparing
from experiments.evaluation.finetuned.tagging import labels_of
from experiments.evaluation.frozen import frozen, static
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.zero_shot import cloze, language_modelling, minimal_pairs
from experiments.evaluation.zero_shot import generation as prompted_generation
from experiments.recipe.groups.task import KindName, Mode

Ask = Callable[[Question], Answer]


def classes(question: Question) -> int | None:
    """The number of classes of the task; None if its answer is a number."""
    return len(question.task.labels) if question.task.kind == "classification" else None


def finetuned_texts(question: Question) -> Answer:
    return answer(question, preparing(question, classes(question)), question.ask.finetune.poolings)


def frozen_texts(question: Question) -> Answer:
    return frozen.of_pooled(question, classes(question))


def static_texts(question: Question) -> Answer:
    return static.of_pooled(question, classes(question))


def frozen_words(question: Question) -> Answer:
    return frozen.of_words(question, labels_of(question))


def static_words(question: Question) -> Answer:
    return static.of_words(question, labels_of(question))


TEXTS: dict[Mode, Ask] = {"finetuned": finetuned_texts, "frozen": frozen_texts, "static": static_texts}
MODES: dict[KindName, dict[Mode, Ask]] = {
    "classification": TEXTS,
    "regression": TEXTS,
    "tagging": {"finetuned": tagging.finetuned, "frozen": frozen_words, "static": static_words},
    "question_answering": {"finetuned": question_answering.finetuned},
    "minimal_pairs": {"zero_shot": minimal_pairs.zero_shot},
    "cloze": {"zero_shot": cloze.zero_shot},
    "generation": {"finetuned": finetuned_generation.finetuned, "zero_shot": prompted_generation.zero_shot},
    "language_modelling": {"zero_shot": language_modelling.zero_shot},
}
