"""One stack under one mask. Encoder-AE, decoder-AR and prefix LM are this class with three mask builders."""

from __future__ import annotations

from typing import ClassVar

from archs.batch import Batch, MaskBuilder
from archs.config import CoreConfig
from archs.core.flops import distance_flops, head_flops, stack_flops
from archs.core.reach import Reach, closure, seen_in
from archs.core.transformer import Stack
from archs.decoding.decoding import Steps
from archs.errors import UserError
from archs.families.family import Family, Hidden, take_targets
from archs.families.steps import PromptSteps
from archs.masks import Mask


class SingleStack(Family):
    """hidden = stack(embed(tokens)) under `build_mask(batch)`.

    mask: replaces the family's own builder; any function Batch -> Mask. A batch may have a mask builder too,
    from an objective whose mask differs from batch to batch.
    """

    default_mask: ClassVar[MaskBuilder]

    def __init__(self, config: CoreConfig, mask: MaskBuilder | None = None) -> None:
        super().__init__(config)
        self.build_mask: MaskBuilder = mask or type(self).default_mask
        self.stack = Stack(config, config.layers, both_ways=self.both_ways)

    def hidden(self, batch: Batch) -> Hidden:
        self.check_length(batch.positions)
        x = self.embed(batch.tokens, batch.positions, batch.token_types)
        mask = self.mask_of(batch)
        rows, layers = self.stack(x, batch.positions, mask, token_types=batch.token_types)
        return Hidden(take_targets(rows, batch), rows, layers)

    def mask_of(self, batch: Batch) -> Mask:
        """The batch's own mask, else the family's. Raises UserError if both batch and user give a builder."""
        if batch.mask is None:
            return self.build_mask(batch)
        if self.build_mask is not type(self).default_mask:
            raise UserError(
                "the objective brings masks of its own, and family.mask is set as well; leave family.mask "
                "out, or choose an objective that leaves the mask to the family"
            )
        return batch.mask(batch)

    def flops(self, batch: Batch) -> int:
        B, T = batch.tokens.shape
        body = B * stack_flops(self.config, self.config.layers, rows=T, keys=T)
        body += distance_flops(self.config, self.config.layers, keys=T)
        return body + head_flops(self.config, len(batch.target_index))

    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> Reach:
        mask = (declared or batch.mask or type(self).default_mask)(batch)
        own = closure(seen_in(self.stack, mask, batch.positions))
        return {"tokens": [{"tokens": reached} for reached in own]}


class CachedStack(SingleStack):
    """A single stack that generates from left to right with a cache: decoder-AR and prefix LM."""

    layout = "concatenated"
    decoding = "left to right, cached"

    def steps(self, batch: Batch, length: int) -> Steps:
        return PromptSteps(self, self.stack, self.build_mask, batch, length)
