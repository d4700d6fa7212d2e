"""One stack under one mask: encoder-AE, decoder-AR and prefix LM are this class with another mask builder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from archs.batch import Batch
from archs.count import head_flops, stack_flops
from archs.family import Family, Hidden, take_targets
from archs.flow import closure
from archs.generate import left_to_right, with_room
from archs.masks import MaskBuilder
from archs.transformer import Cache, CoreConfig, Stack


class SingleStack(Family):
    """hidden = stack(embed(tokens)) under `build_mask(batch)`.

    `mask` replaces the family's own builder: the first extension point, any function Batch -> Mask.
    """

    default_mask: ClassVar[MaskBuilder]

    def __init__(self, config: CoreConfig, mask: MaskBuilder | None = None) -> None:
        super().__init__(config)
        self.build_mask: MaskBuilder = mask or type(self).default_mask
        self.stack = Stack(config, config.layers)

    def hidden(self, batch: Batch) -> Hidden:
        self.check_length(batch.positions)
        x = self.embed(batch.tokens, batch.positions)
        rows, layers = self.stack(x, batch.positions, self.build_mask(batch))
        return Hidden(take_targets(rows, batch), rows, layers)

    def flops(self, batch: Batch) -> int:
        B, T = batch.tokens.shape
        body = B * stack_flops(self.config, self.config.layers, rows=T, keys=T)
        return body + head_flops(self.config, len(batch.target_index))

    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> list[dict[str, Tensor]]:
        B, T = batch.tokens.shape
        cells = torch.arange(T, device=batch.device)
        mask = declared or type(self).default_mask
        seen = mask(batch).dense(B, cells, cells)
        itself = torch.eye(T, dtype=torch.bool, device=batch.device).expand(B, T, T)
        return [{"tokens": reached} for reached in closure(seen, itself, self.config.layers)]


class CachedStack(SingleStack):
    """A single stack that writes left to right with a cache: decoder-AR and prefix LM."""

    layout = "concatenated"
    decoding = "left to right, cached"

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        length: int,
        temperature: float = 0.0,
        rng: torch.Generator | None = None,
        forbid: Tensor | None = None,
    ) -> Tensor:
        whole = with_room(batch, length)
        self.check_length(whole.positions)
        T = batch.tokens.shape[1]
        mask = self.build_mask(whole)
        cache = Cache.empty(self.config.layers, capacity=T + length)

        def read(tokens: Tensor) -> Tensor:
            start = cache.length
            positions = whole.positions[:, start : start + tokens.shape[1]]
            rows, _ = self.stack(self.embed(tokens, positions), positions, mask, cache=cache)
            return self.logits(rows[:, -1])

        return left_to_right(read, batch.tokens, length, temperature, rng, forbid)
