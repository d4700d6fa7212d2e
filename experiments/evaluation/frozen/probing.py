"""Linear heads on vectors that nobody trains: fitted on train, chosen on validation, asked the test once."""

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

ITEMS_AT_ONCE = 1000  # of a test: what is held of it does not grow with it
Items = Sequence[int] | np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """One way to look at some items: features (n,F), or (n,L,F) of the `layers` that are to be mixed."""

    variant: dict[str, str | int]
    features: Callable[[], Tensor]
    layers: Sequence[str] = ()


Read = Callable[[str, Items], list[View]]  # (part, its items) -> the same views in the same order


@dataclass(frozen=True, eq=False)
class Asked:
    """What a kind asks. A row of features has one answer; an item has one row, or one a word.

    classes: how many, None where a number is asked. labels: of some items' rows. rows: the answers of all of
    a part's rows in order -> one row an item, as metrics read them.
    """

    classes: int | None
    labels: Callable[[str, Items], np.ndarray]
    rows: Callable[[str, np.ndarray], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The head that validation chose among the penalties, for one view and number of examples."""

    variant: dict[str, str | int]
    view: int
    layers: Sequence[str]
    head: Head
    validation: float


def of_texts(question: Question, classes: int | None) -> Asked:
    """One answer a text, or a pair."""
    parts = by_part(question)
    return Asked(
        classes,
        lambda part, items: np.array([parts[part][item]["label"] for item in items]),
        lambda part, answers: answered(parts[part], answers),
    )


def of_words(question: Question, texts: Mapping[str, Words], labels: Sequence[str]) -> Asked:
    """One answer a word that is read; of the others it is said that they are outside."""
    parts = by_part(question)

    def numbers(part: str, items: Items) -> np.ndarray:
        found = (zip(parts[part][item]["tags"], texts[part].rows[item], strict=True) for item in items)
        return np.array([labels.index(tag) for each in found for tag, row in each if row != UNREAD])

    def rows(part: str, answers: np.ndarray) -> pd.DataFrame:
        said, left = [], iter(answers.tolist())
        for each in texts[part].rows:
            said.append([OUTSIDE if row == UNREAD else labels[next(left)] for row in each])
        tags = [example["tags"] for example in parts[part]]
        return pd.DataFrame({"item": range(len(tags)), "tags": tags, "predicted_tags": said})

    return Asked(len(labels), numbers, rows)


def by_part(question: Question) -> dict[str, Sequence[Example]]:
    """The parts that are there; of train no more than is asked for."""
    data = question.data
    return {"train": data.train[: max(question.ask.examples)], **data.held}


def answer(
    question: Question, asked: Asked, sources: Iterable[tuple[str, Read]], cut: dict[str, int]
) -> Answer:
    """One outcome for each source of vectors, view, number of examples and part of the test.

    In the order of examples, then of sources, then of what is best on validation.
    """
    parts = by_part(question)
    sizes = list(dict.fromkeys(min(count, len(parts["train"])) for count in question.ask.examples))
    trials: list[dict[str, object]] = []
    found: list[tuple[tuple[int, int, float], Fitted, list[Outcome]]] = []
    for place, (name, read) in enumerate(sources):
        print(f"{question.task.name}: linear heads on {name}", file=sys.stderr, flush=True)
        fits = fitted(question, asked, name, read, sizes, trials)
        tables = {part: tested(asked, fits, read, part, items) for part, items in question.data.asked.items()}
        for number, fit in enumerate(fits):
            outcomes = [Outcome(fit.variant | {"part": part}, each[number]) for part, each in tables.items()]
            size = sizes.index(int(fit.variant["examples"]))
            found.append(((size, place, -fit.validation), fit, outcomes))
    found.sort(key=lambda one: one[0])
    more = {"heads": [told(fit) for _, fit, _ in found]}
    return Answer([each for _, _, outcomes in found for each in outcomes], trials, cut, more)


def fitted(
    question: Question,
    asked: Asked,
    name: str,
    read: Read,
    sizes: Sequence[int],
    trials: list[dict[str, object]],
) -> list[Fitted]:
    """A head for every view and size; what was tried is added to `trials`. Of equals the stronger penalty."""
    metric, found = primary(question), []
    train = read("train", range(max(sizes)))
    held = read("validation", range(len(question.data.validation)))
    for number, (view, held_view) in enumerate(zip(train, held, strict=True)):
        features, held_features = view.features(), held_view.features()
        for size in sizes:
            variant = {"model": name, **view.variant, "examples": size}
            labels = asked.labels("train", range(size))
            if asked.classes is not None and len(set(labels.tolist())) < 2:
                raise UserError(
                    f"task '{question.task.name}': its first {size} training examples have one label alone, "
                    "and a classifier needs two; raise examples"
                )
            best = None
            for head in heads(features[: len(labels)], labels, asked.classes):
                score = metric.of(asked.rows("validation", head.answer(held_features)))
                score = score if metric.better == "higher" else -score
                trials.append({**variant, "penalty": head.penalty, "validation": score})
                if best is None or score > best[0]:
                    best = score, head
            assert best is not None
            found.append(Fitted(variant, number, view.layers, best[1], best[0]))
    return found


def tested(
    asked: Asked, fits: Sequence[Fitted], read: Read, part: str, items: Sequence[Example]
) -> list[pd.DataFrame]:
    """Each head's rows of a part, which is read once for all of them."""
    answers: list[list[np.ndarray]] = [[] for _ in fits]
    for some in np.array_split(np.arange(len(items)), -(-len(items) // ITEMS_AT_ONCE)):
        for number, view in enumerate(read(part, some)):
            features = view.features()
            for place, fit in enumerate(fits):
                if fit.view == number:
                    answers[place].append(fit.head.answer(features))
    return [asked.rows(part, np.concatenate(each)) for each in answers]


def told(fit: Fitted) -> dict[str, object]:
    """For the result's file: a head's variant, what chose it, and the weights of a mix by layer."""
    found: dict[str, object] = {**fit.variant, "penalty": fit.head.penalty, "validation": fit.validation}
    if fit.layers:
        found["weights"] = dict(zip(fit.layers, fit.head.weights, strict=True))
        found["scale"] = fit.head.scale
    return found
