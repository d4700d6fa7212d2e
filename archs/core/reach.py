"""Which input cells each row of a stack may depend on, by its masks and its depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import repeat
from torch import Tensor

from archs.core.transformer import Stack
from archs.masks import Mask

# By stream of the input cells: which of them each row depends on, (B,R,cells) bool.
Streams = dict[str, Tensor]
# By stream of the rows, in the order in which they are read: one entry a layer.
Reach = dict[str, list[Streams]]


def seen_in(stack: Stack, mask: Mask, positions: Tensor, keys: int | None = None) -> list[Tensor]:
    """Each layer's mask (B,R,K) bool over rows at `positions` (B,R), the first `keys` of them keys."""
    rows = torch.arange(positions.shape[1], device=positions.device)
    return [layer.dense(len(positions), rows, rows[:keys]) for layer in stack.masks(mask, positions)]


def closure(seen: Sequence[Tensor], start: Tensor | None = None) -> list[Tensor]:
    """What each row depends on after each layer, (B,R,cells) bool.

    seen: each layer's mask (B,R,K) bool, its keys the first K rows; start (B,R,cells): before the first
    layer, where row k holds cell k if not given.
    """
    if start is None:
        B, R, K = seen[0].shape
        start = repeat(torch.eye(R, K, dtype=torch.bool, device=seen[0].device), "r k -> b r k", b=B)
    reached, out = start, []
    for mask in seen:
        through = mask.float() @ reached[:, : mask.shape[2]].float()
        reached = reached | (through > 0)
        out.append(reached)
    return out
