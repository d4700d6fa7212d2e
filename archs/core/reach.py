"""Which input cells each row of a stack may depend on, given its masks and its depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import repeat
from torch import Tensor

from archs.core.transformer import Stack
from archs.masks import Mask

# For each stream of input cells: on which cells each row depends, (B,R,cells) bool.
Streams = dict[str, Tensor]
# For each stream of rows, in the order of the pass: one entry a layer.
Reach = dict[str, list[Streams]]


def seen_in(stack: Stack, mask: Mask, positions: Tensor, keys: int | None = None) -> list[Tensor]:
    """Each layer's mask (B,R,K) bool over rows at `positions` (B,R), of which the first `keys` are keys."""
    rows = torch.arange(positions.shape[1], device=positions.device)
    return [layer.dense(len(positions), rows, rows[:keys]) for layer in stack.masks(mask, positions)]


def closure(seen: Sequence[Tensor], start: Tensor | None = None) -> list[Tensor]:
    """The cells on which each row depends after each layer, (B,R,cells) bool.

    seen: each layer's mask (B,R,K) bool, whose keys are the first K rows. start (B,R,cells): the same before
    the first layer; if not given, row k depends on cell k.
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
