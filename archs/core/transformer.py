"""The stack of Transformer layers that all five families share.

Attention is in `archs/core/attention_layers.py`, the options in `archs/config.py`.

Axes: B rows of the batch, R rows of a stack, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archs.config import CoreConfig
from archs.core.attention import Visible, visible
from archs.core.attention_layers import Angles, Context, Source
from archs.core.block import Block
from archs.core.cache import Cache, with_held
from archs.core.layers import initialise, make_norm
from archs.core.positions import Distances, RelativeBias, rope
from archs.core.single_row import SingleRowBlock
from archs.masks import Mask, near

NEED_KEY_POSITIONS = ("relative", "transformer_xl")  # in the other schemes a key holds its own position


class Stack(nn.Module):
    """Layers and a final norm, which only pre-norm order needs: post-norm blocks end with a norm.

    both_ways: T5's relative positions have buckets for later keys too; a stack that never sees a later key
    uses all buckets for earlier ones. With shared_layers (Lan et al. 2020) all layers are one block.
    recomputes: set by `checkpoint_activations`.
    """

    def __init__(self, config: CoreConfig, layers: int, cross: bool = False, both_ways: bool = True) -> None:
        super().__init__()
        self.config, self.layers = config, layers
        self.recomputes = False
        own = not config.shared_layers
        self.blocks = nn.ModuleList(
            Block(config, cross, normed=config.embedding_norm and own and number == 0)
            for number in range(layers if own else 1)
        )
        self.final_norm = make_norm(config) if config.norm_order == "pre" else nn.Identity()
        self.bias = RelativeBias(config, both_ways) if config.positions == "relative" else None
        initialise(self, layers)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Mask,
        *,
        keys: int | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        memory_length: int = 0,
        cache: Cache | None = None,
        token_types: Tensor | None = None,
        last_from: int = 0,
    ) -> tuple[Tensor, list[Tensor]]:
        """x (B,R,D), positions (B,R) -> final hidden states (B,R,D), and each layer's output before the norm.

        keys: the first so many rows are keys, None = all; the others are queries only. cache: the rows are
        appended to it, and `mask` is over all rows of the cache. token_types (B,R), None = all 0. memory
        (B,S,D): an encoder's output, None once the cache holds its keys and values; memory_length: its S.
        last_from: the last layer computes only rows from this one on, and the final states are (B,R -
        last_from,D).
        """
        B, R = x.shape[:2]
        keys = R if keys is None else keys
        start = None if cache is None else cache.length
        memory_seen = None
        if memory_mask is not None:
            memory_seen = visible(memory_mask, B, R, memory_length, x.device, start, drops=self._drops())
        shared, local = self._share(x, positions, mask, keys, cache, token_types)
        source = None if memory_seen is None else Source(memory, memory_seen)
        single = R == keys == 1 and not self.training and shared.between is None
        if cache is not None and single and (source is None or cache.cross):
            layers = self._row(x, shared, local, source, cache)
            return self.final_norm(layers[-1]), layers
        layers = []
        recomputes = self.recomputes and self.training and cache is None and torch.is_grad_enabled()
        for number in range(self.layers):
            if last_from and number == self.layers - 1:
                shared, local = self._share(x, positions, mask, keys, cache, token_types, last_from)
            block = self.blocks[number % len(self.blocks)]
            inputs = (x, local if self.config.is_local(number) else shared, source, cache, number)
            x = checkpoint(block, *inputs, use_reentrant=False) if recomputes else block(*inputs)
            layers.append(x)
        return self.final_norm(x), layers

    def _row(
        self, x: Tensor, shared: Context, local: Context | None, source: Source | None, cache: Cache
    ) -> list[Tensor]:
        """Each layer's output (B,1,D) for one new row of each text."""
        if cache.rows is None:
            cache.rows = [SingleRowBlock(block) for block in self.blocks]  # type: ignore[arg-type]
        row, seen, layers = x.squeeze(1), None if source is None else source.seen, []
        for number, held in enumerate(cache.layers):
            context = local if local is not None and self.config.is_local(number) else shared
            memory = cache.cross[number] if cache.cross else None
            row = cache.rows[number % len(cache.rows)](row, context, held, memory, seen)
            layers.append(row.unsqueeze(1))
        return layers

    def masks(self, mask: Mask, positions: Tensor) -> list[Mask]:
        """The mask of each layer: local layers hide keys more than `window` positions from the query.

        positions (B,R): of all rows that the mask is over.
        """
        local = self._local(mask, positions)
        return [local if self.config.is_local(number) else mask for number in range(self.layers)]

    def _local(self, mask: Mask, positions: Tensor) -> Mask:
        return mask if self.config.window is None else mask & near(positions, self.config.window)

    def _share(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Mask,
        keys: int,
        cache: Cache | None,
        token_types: Tensor | None,
        first: int = 0,
    ) -> tuple[Context, Context | None]:
        """The contexts of all layers and of local layers, if any. Queries are the rows from `first` on."""
        config, (B, R) = self.config, x.shape[:2]
        start = None if cache is None else cache.length
        held = (start or 0) + keys
        between = bias = None
        all_positions = positions  # of all rows that the mask is over
        if cache is not None and (config.window is not None or config.positions in NEED_KEY_POSITIONS):
            all_positions = with_held(cache.positions, positions)
            cache.positions = all_positions[:, :held]
        if config.positions == "transformer_xl":
            types = token_types
            if cache is not None and token_types is not None:
                types = with_held(cache.types, token_types)
                cache.types = types[:, :held]
            key_types = None if types is None else types[:, :held]
            query_types = None if token_types is None else token_types[:, first:]
            between = Distances.between(
                positions[:, first:], all_positions[:, :held], query_types, key_types, config.width
            )
        if self.bias is not None:
            bias = self.bias(positions[:, first:], all_positions[:, :held])
        biased = between is not None or bias is not None

        def see(mask: Mask) -> Visible:
            mask = mask.from_row(first) if first else mask
            seen = visible(mask, B, R - first, held, x.device, start, biased, self._drops())
            return seen if bias is None else seen.plus(bias)

        shared = Context(see(mask), keys, self._angles(positions, config.rope_base), between, first)
        if config.window is None:
            return shared, None
        angles = shared.angles
        if config.local_rope_base is not None:
            angles = self._angles(positions, config.local_rope_base)
        return shared, replace(shared, seen=see(self._local(mask, all_positions)), angles=angles)

    def _drops(self) -> bool:
        return self.training and self.config.attention_dropout > 0

    def _angles(self, positions: Tensor, base: float) -> Angles | None:
        return rope(positions, self.config.head_width, base) if self.config.positions == "rope" else None


def checkpoint_activations(model: nn.Module) -> None:
    """Turns activation checkpointing on for every stack in `model` (Chen et al. 2016).

    In training, a stack then keeps only the inputs of its blocks and computes the rest once more in the
    backward pass, with the same dropout: equal loss and gradients in less memory, for one more forward pass.
    """
    for module in model.modules():
        if isinstance(module, Stack):
            module.recomputes = True
