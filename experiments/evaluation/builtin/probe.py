"""The kind of task that asks what frozen states hold: two poolings of a text, a linear classifier on each.

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
STRENGTHS = (0.001, 0.03, 1.0)  # C of the logistic regression: the smaller, the nearer to zero its weights
POOLINGS = ("mean", "first")


@dataclass(frozen=True, eq=False)
class Probe:
    """What a linear classifier says of the test items, predicted (n), and the C that validation chose."""

    predicted: np.ndarray
    strength: float


@torch.no_grad()
def pooled(
    family: Family, vocabulary: Vocabulary, tokens: Tensor, token_types: Tensor
) -> dict[str, np.ndarray]:
    """The last states of full rows (n,T) by pooling, (n,D) each, of one pass in eval mode.

    mean: over the rows that read text, special tokens left out. first: the family's own token: the first row
    ([cls]) where rows see later ones, else the last, which alone has read all. The family stays as it is.
    """
    was, device = family.training, family.embedding.weight.device
    # One type is too few for a pair's two parts, as for the objective.
    types = None if family.config.token_types == 1 else token_types
    own = 0 if family.both_ways else -1
    found: dict[str, list[np.ndarray]] = {name: [] for name in POOLINGS}
    family.eval()
    for rows in torch.arange(len(tokens)).split(ROWS_AT_ONCE):
        batch = read(family.layout, tokens[rows], None, vocabulary)
        batch = replace(batch, token_types=None if types is None else types[rows])
        states = family.hidden(batch.to(device)).rows.float().cpu()
        found["mean"].append(_mean(states, batch.tokens, vocabulary))
        found["first"].append(states[:, own].numpy())
    family.train(was)
    return {name: np.concatenate(each) for name, each in found.items()}


@torch.no_grad()
def embedded(family: Family, vocabulary: Vocabulary, tokens: Tensor) -> np.ndarray:
    """The mean of the input embeddings of a text's tokens (n,D), blind to their order: a baseline."""
    table = family.embedding.weight.float().cpu()
    return np.concatenate([_mean(table[rows], rows, vocabulary) for rows in tokens.split(ROWS_AT_ONCE)])


def _mean(states: Tensor, tokens: Tensor, vocabulary: Vocabulary) -> np.ndarray:
    """states (n,T,D) over the cells whose token (n,T) is not special: (n,D)."""
    counted = (~vocabulary.special[tokens]).unsqueeze(2).to(states.dtype)
    return ((states * counted).sum(1) / counted.sum(1).clamp(min=1)).numpy()


def fit(
    train: np.ndarray, held: np.ndarray, test: np.ndarray, labels: np.ndarray, held_labels: np.ndarray
) -> Probe:
    """Logistic regression on features (n,D) standardised by those of train, with the C best on `held`.

    Of equally good ones the smallest.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best, chosen = -1.0, None
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        right = float((model.fit(train, labels).predict(held) == held_labels).mean())
        if right > best:
            best, chosen = right, Probe(model.predict(test), strength)
    assert chosen is not None
    return chosen
