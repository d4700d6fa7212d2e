"""Probes of frozen states: two poolings of a text, a linear classifier on each.

Axes: n items, T tokens of a row, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from archs.families.family import Family
from objectives.base import Vocabulary
from objectives.layouts import read

ROWS_AT_ONCE = 64
STRENGTHS = (0.001, 0.03, 1.0)  # C of the logistic regression: a smaller C draws the weights nearer to zero
POOLINGS = ("mean", "first")


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier's classes of the test items, predicted (n), and the C that validation chose."""

    predicted: np.ndarray
    strength: float


@torch.no_grad()
def pooled(
    family: Family, vocabulary: Vocabulary, tokens: Tensor, token_types: Tensor
) -> dict[str, np.ndarray]:
    """The last layer's states of full rows (n,T), (n,D) for each pooling, from one pass in eval mode.

    mean: over the rows of text tokens, without special tokens. first: the row that stands for the text. It is
    the first ([cls]) if rows see later ones, else the last, which alone has read everything. The family is
    left unchanged.
    """
    was_training, device = family.training, family.embedding.weight.device
    # With one token type a pair's two parts have the same, as in the objective.
    types = None if family.config.token_types == 1 else token_types
    own = 0 if family.both_ways else -1
    by_pooling: dict[str, list[np.ndarray]] = {name: [] for name in POOLINGS}
    family.eval()
    for rows in torch.arange(len(tokens)).split(ROWS_AT_ONCE):
        batch = read(family.layout, tokens[rows], None, vocabulary)
        batch = replace(batch, token_types=None if types is None else types[rows])
        states = family.hidden(batch.to(device)).rows.float().cpu()
        by_pooling["mean"].append(_mean(states, batch.tokens, vocabulary))
        by_pooling["first"].append(states[:, own].numpy())
    family.train(was_training)
    return {name: np.concatenate(each) for name, each in by_pooling.items()}


@torch.no_grad()
def embedded(family: Family, vocabulary: Vocabulary, tokens: Tensor) -> np.ndarray:
    """The mean input embedding of each text's tokens (n,D): a baseline that is blind to their order."""
    table = family.embedding.weight.float().cpu()
    return np.concatenate([_mean(table[rows], rows, vocabulary) for rows in tokens.split(ROWS_AT_ONCE)])


def _mean(states: Tensor, tokens: Tensor, vocabulary: Vocabulary) -> np.ndarray:
    """Means (n,D) of states (n,T,D) over the cells whose token (n,T) is not special."""
    counted = (~vocabulary.special[tokens]).unsqueeze(2).to(states.dtype)
    return ((states * counted).sum(1) / counted.sum(1).clamp(min=1)).numpy()


def fit(
    train: np.ndarray, held: np.ndarray, test: np.ndarray, labels: np.ndarray, held_labels: np.ndarray
) -> Probe:
    """Logistic regression on features (n,D), standardised as in train, with the C that is best on `held`.

    Ties go to the smallest C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best, chosen = -1.0, None
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        accuracy = float((model.fit(train, labels).predict(held) == held_labels).mean())
        if accuracy > best:
            best, chosen = accuracy, Probe(model.predict(test), strength)
    assert chosen is not None
    return chosen
