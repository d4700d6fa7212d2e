"""Tagging: a BIO tag for each word of a text, such as named entities."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.errors import nearest
from experiments.learner import Learner
from experiments.run import Run
from experiments.tasks import frozen, static
from experiments.tasks.baselines import baselines_for_tagging
from experiments.tasks.grid import Prepare, Tuned, answer
from experiments.tasks.kind import Answer, EmptyError, Example, Kind, Question
from experiments.tasks.pooled import ROWS_AT_ONCE
from experiments.tasks.task import TaskConfig
from experiments.tasks.words import OUTSIDE, POLICY, Words, encoded_words
from objectives.base import Objective
from objectives.tagged import Tagged

BIO = re.compile(r"O|[BI]-.+")


def example(row: Example, task: TaskConfig) -> Example:
    """Words and their tags, as names: the column holds names, or numbers of the task's labels."""
    for role in ("tokens", "tags"):
        if not isinstance(row[role], list):
            raise ValueError(
                f"its {role} is {type(row[role]).__name__}, must be a list; give .jsonl or .parquet, for CSV "
                "holds no lists"
            )
    words, tags = row["tokens"], row["tags"]
    if not words:
        raise EmptyError("its tokens is an empty list; leave such items out")
    for place, word in enumerate(words, start=1):
        if not isinstance(word, str) or not word.strip():
            raise ValueError(f"word {place} of its tokens is {word!r}, must be text that is not empty")
    if len(words) != len(tags):
        raise ValueError(f"it has {len(words)} tokens and {len(tags)} tags; give one tag a token")
    for label in task.labels:
        if not BIO.fullmatch(label):
            raise ValueError(f"task.labels has '{label}', must be BIO: O, B-TYPE or I-TYPE")
    return {"tokens": words, "tags": [_tag(tag, place, task) for place, tag in enumerate(tags, start=1)]}


def _tag(value: object, place: int, task: TaskConfig) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(task.labels):
            return task.labels[value]
        allowed = f"from 0 to {len(task.labels) - 1}" if task.labels else "a name"
        raise ValueError(f"tag {place} is {value}, must be {allowed}; set task.labels=[…]")
    if not isinstance(value, str) or not BIO.fullmatch(value):
        raise ValueError(f"tag {place} is {value!r}, must be BIO: O, B-TYPE or I-TYPE")
    if task.labels and value not in task.labels:
        names = ", ".join(nearest(value, task.labels))
        raise ValueError(f"tag {place} is {value!r}, must be one of: {names}; set task.labels=[…]")
    return value


def labels_of(question: Question) -> list[str]:
    """The task's labels, or if it names none the tags of all its training examples, sorted.

    A tag of the test that no training example has can then not be given.
    """
    found = {tag for each in question.data.train for tag in each["tags"]}
    return question.task.labels or sorted(found)


def text(example: Example) -> str:
    return " ".join(example["tokens"])


def finetuned(question: Question) -> Answer:
    return answer(question, preparing(question), ("words",))


def frozen_states(question: Question) -> Answer:
    return frozen.of_words(question, labels_of(question))


def static_vectors(question: Question) -> Answer:
    return static.of_words(question, labels_of(question))


def preparing(question: Question) -> Prepare:
    """How a model is finetuned to tag words: each read at the row that `word_rows` names."""
    others, names = question.data.held, labels_of(question)

    def prepare(run: Run, train: Sequence[Example]) -> Tuned:
        vocabulary = run.corpus.vocabulary
        texts = {
            part: encoded_words(run, [example["tokens"] for example in each])
            for part, each in {"train": train, **others}.items()
        }
        numbers = [torch.tensor([names.index(tag) for tag in example["tags"]]) for example in train]

        def objective(pooling: str) -> Tagged:
            return Tagged(vocabulary, run.family.layout, len(names))

        def batch(asks: Objective, chosen: np.ndarray, seed: int) -> Batch:
            assert isinstance(asks, Tagged)
            tags = torch.nn.utils.rnn.pad_sequence([numbers[item] for item in chosen], batch_first=True)
            return asks.read(*texts["train"].batch(chosen, vocabulary.pad), tags)

        def predict(learner: Learner, part: str) -> pd.DataFrame:
            found = predicted(learner, texts[part], vocabulary.pad)
            said = [[OUTSIDE if number < 0 else names[number] for number in each] for each in found]
            tags = [example["tags"] for example in others[part]]
            return pd.DataFrame({"item": range(len(tags)), "tags": tags, "predicted_tags": said})

        cut = {part: each.cut for part, each in texts.items()}
        return Tuned(objective, batch, texts["train"].lengths, predict, cut)

    return prepare


@torch.no_grad()
def predicted(learner: Learner, texts: Words, pad: int) -> list[list[int]]:
    """The class of every word of all items, -1 for words that are not read; asked in order of length."""
    asks, device = learner.objective, learner.family.embedding.weight.device
    assert isinstance(asks, Tagged)
    order = np.argsort(texts.lengths, kind="stable")
    found: list[list[int]] = [[] for _ in texts.tokens]
    for items in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments, rows = texts.batch(items, pad)
        batch = asks.read(tokens, segments, rows, torch.zeros_like(rows))
        classes = asks.answers(learner.family, learner.extra, batch.to(device)).float().nan_to_num()
        said = classes.argmax(2).cpu().masked_fill(rows < 0, -1).tolist()
        for item, each in zip(items, said, strict=True):
            found[item] = each[: len(texts.rows[item])]
    return found


TAGGING = Kind(
    name="tagging",
    required=("tokens", "tags"),
    optional=(),
    metrics=("entity_f1",),
    modes={"finetuned": finetuned, "frozen": frozen_states, "static": static_vectors},
    example=example,
    text=text,
    policy=POLICY,
    baselines=baselines_for_tagging,
)
