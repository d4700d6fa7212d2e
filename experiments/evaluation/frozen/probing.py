"""Linear heads on fixed vectors: fitted on train, chosen on validation, evaluated once on the test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from archs.errors import UserError
from experiments.evaluation.finetuned.pooled import answered
from experiments.evaluation.frozen.heads import Head, heads
from experiments.evaluation.question import Answer, Question, primary
from experiments.evaluation.words import OUTSIDE, UNREAD, Words
from experiments.tasks.kind import Example, Outcome

ITEMS_AT_ONCE = 1000  # of a test, so that memory does not grow with its size
Items = Sequence[int] | np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """One kind of features of some items: (n,F), or (n,L,F) of the `layers` to mix."""

    variant: dict[str, str | int]
    features: Callable[[], Tensor]
    layers: Sequence[str] = ()


Read = Callable[[str, Items], list[View]]  # (part, its items) -> the same views in the same order


@dataclass(frozen=True, eq=False)
class Target:
    """The labels of a task. Each row of features has one answer; an item has one row, or one for each word.

    classes: their number, None if answers are numbers. labels: (part, items) -> the labels of the items'
    rows. rows: (part, the answers of all its rows in order) -> one row for each item, as metrics read them.
    """

    classes: int | None
    labels: Callable[[str, Items], np.ndarray]
    rows: Callable[[str, np.ndarray], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The head whose penalty is best on validation, for one view and number of examples."""

    variant: dict[str, str | int]
    view: int
    layers: Sequence[str]
    head: Head
    validation: float


def of_texts(question: Question, classes: int | None) -> Target:
    """The target of a task with one answer a text or pair."""
    parts = by_part(question)
    return Target(
        classes,
        lambda part, items: np.array([parts[part][item]["label"] for item in items]),
        lambda part, answers: answered(parts[part], answers),
    )


def of_words(question: Question, texts: Mapping[str, Words], labels: Sequence[str]) -> Target:
    """The target of a task with one answer a word. Words that are not read are predicted to be outside."""
    parts = by_part(question)

    def label_numbers(part: str, items: Items) -> np.ndarray:
        words_of_items = (
            zip(parts[part][item]["tags"], texts[part].rows[item], strict=True) for item in items
        )
        return np.array([labels.index(tag) for each in words_of_items for tag, row in each if row != UNREAD])

    def rows(part: str, answers: np.ndarray) -> pd.DataFrame:
        predicted_tags, remaining = [], iter(answers.tolist())
        for each in texts[part].rows:
            predicted_tags.append([OUTSIDE if row == UNREAD else labels[next(remaining)] for row in each])
        tags = [example["tags"] for example in parts[part]]
        return pd.DataFrame({"item": range(len(tags)), "tags": tags, "predicted_tags": predicted_tags})

    return Target(len(labels), label_numbers, rows)


def by_part(question: Question) -> dict[str, Sequence[Example]]:
    """The examples of each part; of train no more than the largest number to train on."""
    data = question.data
    return {"train": data.train[: max(question.ask.examples)], **data.held}


def answer(
    question: Question, target: Target, sources: Iterable[tuple[str, Read]], cut: dict[str, int]
) -> Answer:
    """One outcome for each source of vectors, view, number of examples and part of the test.

    Sorted by number of examples, then by source, then by score on validation, the best first.
    """
    parts = by_part(question)
    sizes = list(dict.fromkeys(min(count, len(parts["train"])) for count in question.ask.examples))
    trials: list[dict[str, object]] = []
    results: list[tuple[tuple[int, int, float], Fitted, list[Outcome]]] = []
    for source, (name, read) in enumerate(sources):
        print(f"{question.task.name}: linear heads on {name}", file=sys.stderr, flush=True)
        fits = fitted(question, target, name, read, sizes, trials)
        tables = {
            part: tested(target, fits, read, part, items) for part, items in question.data.asked.items()
        }
        for number, fit in enumerate(fits):
            outcomes = [Outcome(fit.variant | {"part": part}, each[number]) for part, each in tables.items()]
            size = sizes.index(int(fit.variant["examples"]))
            results.append(((size, source, -fit.validation), fit, outcomes))
    results.sort(key=lambda one: one[0])
    more = {"heads": [head_record(fit) for _, fit, _ in results]}
    return Answer([each for _, _, outcomes in results for each in outcomes], trials, cut, more)


def fitted(
    question: Question,
    target: Target,
    name: str,
    read: Read,
    sizes: Sequence[int],
    trials: list[dict[str, object]],
) -> list[Fitted]:
    """A head for every view and size; appends each trial to `trials`. Ties go to the stronger penalty."""
    metric, fits = primary(question), []
    train = read("train", range(max(sizes)))
    held = read("validation", range(len(question.data.validation)))
    for number, (view, held_view) in enumerate(zip(train, held, strict=True)):
        features, held_features = view.features(), held_view.features()
        for size in sizes:
            variant = {"model": name, **view.variant, "examples": size}
            labels = target.labels("train", range(size))
            if target.classes is not None and len(set(labels.tolist())) < 2:
                raise UserError(
                    f"task '{question.task.name}': its first {size} training examples have one label alone, "
                    "and a classifier needs two; raise examples"
                )
            best = None
            for head in heads(features[: len(labels)], labels, target.classes):
                score = metric.of(target.rows("validation", head.answer(held_features)))
                score = score if metric.better == "higher" else -score
                trials.append({**variant, "penalty": head.penalty, "validation": score})
                if best is None or score > best[0]:
                    best = score, head
            assert best is not None
            fits.append(Fitted(variant, number, view.layers, best[1], best[0]))
    return fits


def tested(
    target: Target, fits: Sequence[Fitted], read: Read, part: str, items: Sequence[Example]
) -> list[pd.DataFrame]:
    """Each head's rows of a part of the test. The part is read once for all heads."""
    answers: list[list[np.ndarray]] = [[] for _ in fits]
    for chunk in np.array_split(np.arange(len(items)), -(-len(items) // ITEMS_AT_ONCE)):
        for number, view in enumerate(read(part, chunk)):
            features = view.features()
            for place, fit in enumerate(fits):
                if fit.view == number:
                    answers[place].append(fit.head.answer(features))
    return [target.rows(part, np.concatenate(each)) for each in answers]


def head_record(fit: Fitted) -> dict[str, object]:
    """A head for the result's file: its variant, penalty and score, and the weights of a mix by layer."""
    record: dict[str, object] = {**fit.variant, "penalty": fit.head.penalty, "validation": fit.validation}
    if fit.layers:
        record["weights"] = dict(zip(fit.layers, fit.head.weights, strict=True))
        record["scale"] = fit.head.scale
    return record
