"""The one loss arithmetic: a weighted sum over a stored total."""

from __future__ import annotations

from torch import Tensor

from archs.core.cross_entropy import cross_entropy
from archs.families.family import Family


def token_loss(family: Family, hidden: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """`weighted_cross_entropy` of the family's logits, which are made and used in parts.

    hidden (N,D), targets (N) int64, weights (N) float.
    """
    return share(family.nats(hidden, targets, weights), total)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """Cross-entropy in nats, summed with weights and divided by the stored total of the global batch.

    logits (N,V), targets (N) int64, weights (N) float. Dividing by `total` and not by the weights at hand
    keeps the sum over processes and accumulation steps equal to the whole batch's loss; a mean of
    micro-batch means would not be.
    """
    return share(cross_entropy(logits, targets, weights), total)


def share(sum_here: Tensor, total: float) -> Tensor:
    """sum_here () over the global batch's total, or over 1 where nothing is asked.

    The total becomes a tensor by a product: a comparison of it would be compiled again for each batch's own.
    """
    return sum_here / (sum_here.new_ones(()) * total).clamp(min=1.0)
