"""The one loss arithmetic: a weighted sum over a stored total."""

from __future__ import annotations

from torch import Tensor

from archs.cross_entropy import cross_entropy
from archs.family import Family


def token_loss(family: Family, hidden: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """`weighted_cross_entropy` of the family's logits, which are made and used in parts.

    hidden (N,D), targets (N) int64, weights (N) float.
    """
    return family.nats(hidden, targets, weights) / max(total, 1.0)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """Cross-entropy in nats, summed with weights and divided by the stored total of the global batch.

    logits (N,V), targets (N) int64, weights (N) float. Dividing by `total` and not by the weights at hand
    keeps the sum over processes and accumulation steps equal to the whole batch's loss; a mean of
    micro-batch means would not be.
    """
    return cross_entropy(logits, targets, weights) / max(total, 1.0)
