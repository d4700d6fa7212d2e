"""Finetuning of the kinds with one answer a text: encode, train a head on pooled rows, predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from experiments.evaluation.encoding import Encoded, encoded
from experiments.evaluation.finetuned.grid import Prepare, Tuned
from experiments.evaluation.question import Question
from experiments.runs.run import Run
from experiments.tasks.kind import Example
from experiments.training.learner import Learner
from objectives.base import Objective
from objectives.pooled import Pooled

ROWS_AT_ONCE = 64


def preparing(question: Question, classes: int | None) -> Prepare:
    """Prepares finetuning of a task with one answer a text. classes: None = the answer is a number."""
    others, pair = question.data.held, question.ask.pair

    def prepare(run: Run, train: Sequence[Example]) -> Tuned:
        words = run.corpus.vocabulary
        texts = {"train": encoded(run, train, pair)}
        texts |= {part: encoded(run, each, pair) for part, each in others.items()}
        labels = torch.tensor([example["label"] for example in train])

        def objective(pooling: str) -> Pooled:
            return Pooled(words, run.family.layout, classes, pooling, texts["train"].parts)  # type: ignore[arg-type]

        def batch(asks: Objective, chosen: np.ndarray, seed: int) -> Batch:
            assert isinstance(asks, Pooled)
            return asks.read(*texts["train"].batch(chosen, words.pad), labels[chosen])

        def predict(learner: Learner, part: str) -> pd.DataFrame:
            answers = predicted(learner, texts[part], words.pad)
            return answered(others[part], answers if classes is None else answers.argmax(axis=1))

        cut = {part: each.cut for part, each in texts.items()}
        return Tuned(objective, batch, texts["train"].lengths, predict, cut)

    return prepare


def answered(examples: Sequence[Example], answers: np.ndarray) -> pd.DataFrame:
    """One row for each item: item, label, predicted."""
    truth = [example["label"] for example in examples]
    return pd.DataFrame({"item": range(len(truth)), "label": truth, "predicted": answers})


@torch.no_grad()
def predicted(learner: Learner, texts: Encoded, pad: int) -> np.ndarray:
    """Logits (n,classes), or numbers (n), of all items, read in order of length; 0 in place of nan."""
    asks = learner.objective
    assert isinstance(asks, Pooled)
    order, batches_of_answers = np.argsort(texts.lengths, kind="stable"), []
    for items in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments = texts.batch(items, pad)
        kind = torch.float32 if asks.classes is None else torch.long
        batch = asks.read(tokens, segments, torch.zeros(len(items), dtype=kind))
        device = learner.family.embedding.weight.device
        batches_of_answers.append(asks.answers(learner.family, learner.extra, batch.to(device)).float().cpu())
    return torch.cat(batches_of_answers).nan_to_num().numpy()[np.argsort(order, kind="stable")]
