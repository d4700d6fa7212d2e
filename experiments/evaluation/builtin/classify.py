"""Classification of a text: finetune, then predict one class for each item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from archs.batch import Batch
from experiments.runs.run import Run
from experiments.tasks.builtin.party import Example
from experiments.training.finetuning import finetune
from experiments.training.learner import Learner
from objectives.classification import Classification

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Classifier:
    """A finetuned copy of a run's family, and the objective that reads classes off it."""

    asks: Classification
    learner: Learner


def classifier(run: Run, train: Sequence[Example], classes: int) -> Classifier:
    """Finetunes a copy of the run's family on the examples, cut to the run's window."""
    settings = run.recipe.evaluation.finetune
    asks = Classification(run.corpus.vocabulary, run.family.layout, classes=classes)
    tokens, segments = encode(run, [example.text for example in train])
    labels = torch.tensor([example.label for example in train])

    def build(step: int) -> Batch:
        chosen = rows_of(step, settings.batch, len(train), run.recipe.seed)
        return asks.read(tokens[chosen], segments[chosen], labels[chosen])

    return Classifier(asks, finetune(run, asks, build, settings.steps, settings.learning_rate))


def predictions(run: Run, by: Classifier, test: Sequence[Example]) -> pd.DataFrame:
    """One row for each test item: item, president, label, predicted, correct.

    Texts are cut to the run's window.
    """
    asks, learner = by.asks, by.learner
    predicted: list[int] = []
    tokens, segments = encode(run, [example.text for example in test])
    with torch.no_grad():
        for rows in torch.arange(len(test)).split(ROWS_AT_ONCE):
            batch = asks.read(tokens[rows], segments[rows], torch.zeros(len(rows), dtype=torch.long))
            logits = asks.logits(learner.family, learner.extra, batch.to(run.device))
            predicted += logits.argmax(dim=1).tolist()
    truth = [example.label for example in test]
    return pd.DataFrame(
        {
            "item": range(len(test)),
            "president": [example.president for example in test],
            "label": truth,
            "predicted": predicted,
            "correct": (np.array(truth) == np.array(predicted)).astype(int),
        }
    )


def encode(run: Run, texts: list[str]) -> tuple[Tensor, Tensor]:
    """tokens, segments (n,W), cut or padded to the run's window; segment -1 = padding."""
    width = run.recipe.size.length
    tokens = torch.full((len(texts), width), run.corpus.vocabulary.pad)
    segments = torch.full((len(texts), width), -1)
    for row, text in enumerate(texts):
        ids = run.corpus.tokenizer.encode(text)[:width]
        tokens[row, : len(ids)] = torch.tensor(ids)
        segments[row, : len(ids)] = 0
    return tokens, segments


def rows_of(step: int, batch: int, examples: int, seed: int) -> np.ndarray:
    """The examples that step `step` reads, epoch by epoch, in an order that depends on (seed, epoch)."""
    places = step * batch + np.arange(batch)
    epochs, within = np.divmod(places, examples)
    orders = {e: np.random.default_rng((seed, int(e))).permutation(examples) for e in np.unique(epochs)}
    return np.array([orders[e][w] for e, w in zip(epochs, within, strict=True)])
