"""What the kinds that answer once a text have in common: encode, finetune a head on pooled rows, predict."""

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
    """How a task of one answer a text is finetuned; classes None: the answer is a number."""
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
            found = predicted(learner, texts[part], words.pad)
            return answered(others[part], found if classes is None else found.argmax(axis=1))

        cut = {part: each.cut for part, each in texts.items()}
        return Tuned(objective, batch, texts["train"].lengths, predict, cut)

    return prepare


def answered(examples: Sequence[Example], answers: np.ndarray) -> pd.DataFrame:
    """One row an item."""
    truth = [example["label"] for example in examples]
    return pd.DataFrame({"item": range(len(truth)), "label": truth, "predicted": answers})


@torch.no_grad()
def predicted(learner: Learner, texts: Encoded, pad: int) -> np.ndarray:
    """Logits (n,classes), or numbers (n), of all items, asked in order of length; 0 in place of no number."""
    asks = learner.objective
    assert isinstance(asks, Pooled)
    order, found = np.argsort(texts.lengths, kind="stable"), []
    for items in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments = texts.batch(items, pad)
        kind = torch.float32 if asks.classes is None else torch.long
        batch = asks.read(tokens, segments, torch.zeros(len(items), dtype=kind))
        device = learner.family.embedding.weight.device
        found.append(asks.answers(learner.family, learner.extra, batch.to(device)).float().cpu())
    return torch.cat(found).nan_to_num().numpy()[np.argsort(order, kind="stable")]
