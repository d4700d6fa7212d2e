"""The loss: a weighted sum, divided by a stored total."""

from __future__ import annotations

from torch import Tensor

from archs.core.cross_entropy import cross_entropy
from archs.families.family import Family


def token_loss(family: Family, hidden: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """`weighted_cross_entropy` of the family's logits, which are computed in chunks.

    hidden (N,D), targets (N) int64, weights (N) float.
    """
    return share(family.nats(hidden, targets, weights), total)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, total: float) -> Tensor:
    """Weighted cross-entropy in nats, divided by the stored total of the global batch.

    logits (N,V), targets (N) int64, weights (N) float. The divisor is `total`, not the sum of these weights,
    so that the losses of processes and accumulation steps sum to the loss of the whole batch. A mean of
    micro-batch means would differ from it.
    """
    return share(cross_entropy(logits, targets, weights), total)


def share(sum_here: Tensor, total: float) -> Tensor:
    """sum_here () divided by the global batch's total, or by 1 if that is smaller.

    The total becomes a tensor by a product. If it were compared as a number, each value would be compiled
    anew.
    """
    return sum_here / (sum_here.new_ones(()) * total).clamp(min=1.0)
