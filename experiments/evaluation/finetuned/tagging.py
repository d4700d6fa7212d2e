"""Tagging: a BIO tag for each word of a text, such as named entities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from experiments.evaluation.finetuned.grid import Prepare, Tuned, answer
from experiments.evaluation.finetuned.pooled import ROWS_AT_ONCE
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.words import OUTSIDE, Words, encoded_words
from experiments.runs.run import Run
from experiments.tasks.kind import Example
from experiments.training.learner import Learner
from objectives.base import Objective
from objectives.tagged import Tagged


def labels_of(question: Question) -> list[str]:
    """The task's labels; without labels, the sorted tags of all training examples.

    Then a tag that only the test has cannot be predicted.
    """
    tags = {tag for each in question.data.train for tag in each["tags"]}
    return question.task.labels or sorted(tags)


def finetuned(question: Question) -> Answer:
    return answer(question, preparing(question), ("words",))


def preparing(question: Question) -> Prepare:
    """Prepares finetuning of a tagger, which reads each word at the row that `word_rows` names."""
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
            numbers_of_words = predicted(learner, texts[part], vocabulary.pad)
            predicted_tags = [
                [OUTSIDE if number < 0 else names[number] for number in each] for each in numbers_of_words
            ]
            tags = [example["tags"] for example in others[part]]
            return pd.DataFrame({"item": range(len(tags)), "tags": tags, "predicted_tags": predicted_tags})

        cut = {part: each.cut for part, each in texts.items()}
        return Tuned(objective, batch, texts["train"].lengths, predict, cut)

    return prepare


@torch.no_grad()
def predicted(learner: Learner, texts: Words, pad: int) -> list[list[int]]:
    """The class of every word of all items, -1 for words that are not read.

    Items are read in order of length.
    """
    asks, device = learner.objective, learner.family.embedding.weight.device
    assert isinstance(asks, Tagged)
    order = np.argsort(texts.lengths, kind="stable")
    classes_of_words: list[list[int]] = [[] for _ in texts.tokens]
    for items in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments, rows = texts.batch(items, pad)
        batch = asks.read(tokens, segments, rows, torch.zeros_like(rows))
        classes = asks.answers(learner.family, learner.extra, batch.to(device)).float().nan_to_num()
        numbers = classes.argmax(2).cpu().masked_fill(rows < 0, -1).tolist()
        for item, each in zip(items, numbers, strict=True):
            classes_of_words[item] = each[: len(texts.rows[item])]
    return classes_of_words
