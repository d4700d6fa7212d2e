"""Encoder-decoder: one stack reads the source, another writes (Raffel et al. 2020; Lewis et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from archs.batch import Batch, MaskBuilder
from archs.config import CoreConfig
from archs.core.embeddings import Placement
from archs.core.flops import distance_flops, head_flops, stack_flops
from archs.core.layers import initialise
from archs.core.reach import Reach, closure, seen_in
from archs.core.transformer import Stack
from archs.decoding.decoding import Steps
from archs.errors import UserError
from archs.families.family import Family, Hidden, Stacks, take_targets
from archs.families.steps import PromptSteps
from archs.masks import CAUSAL, FULL, Mask, document


def encoder_mask(batch: Batch) -> Mask:
    return FULL & document(batch.source_segments)


def decoder_mask(batch: Batch) -> Mask:
    """Causal, unless the objective brought a mask for the decoder."""
    return CAUSAL & document(batch.segments) if batch.mask is None else batch.mask(batch)


def cross_mask(batch: Batch) -> Mask:
    """A target sees the source of its own document."""
    if batch.segments is None and batch.source_segments is not None:
        return document(torch.zeros_like(batch.tokens), batch.source_segments)
    if batch.segments is not None and batch.source_segments is None:
        assert batch.source is not None
        return document(batch.segments, torch.zeros_like(batch.source))
    return document(batch.segments, batch.source_segments)


def share(encoder: Stack, decoder: Stack) -> None:
    """Gives the decoder the encoder's self-attention, feed-forward and norms, the final norm included.

    As in T5, cross-attention and its norm stay the decoder's own. Unlike in T5, the table of relative
    positions does too: a bucket stands for another distance in a stack that sees later keys. Raises UserError
    if the stacks differ in depth.
    """
    if encoder.layers != decoder.layers:
        raise UserError(
            f"shared_stacks needs stacks of one depth: came layers={encoder.layers} and "
            f"decoder_layers={decoder.layers}; set them equal, or leave shared_stacks out"
        )
    for theirs, own in zip(encoder.blocks, decoder.blocks, strict=True):
        for part in ("attention_norm", "attention", "ffn_norm", "ffn"):
            setattr(own, part, getattr(theirs, part))
    decoder.final_norm = encoder.final_norm


class EncoderDecoder(Family):
    """`config.layers` encoder layers and `config.decoder_layers` decoder layers with cross-attention.

    With `config.shared_stacks` both have one set of weights (`share`). They always share token embeddings;
    each has a `Placement` of its own.
    """

    kind = "encoder_decoder"
    layout = "source_target"
    decoding = "left to right, cached"
    both_ways = False  # the rows that it returns are the decoder's

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(config)
        if config.decoder_layers is None:
            raise UserError(
                "an encoder-decoder needs size.decoder_layers: came null, allowed is 1 or more; "
                "set it, or let a sweep's budget split the depth"
            )
        self.decoder_layers = config.decoder_layers
        self.source_placement = Placement(config)
        initialise(self.source_placement)
        self.encoder = Stack(config, config.layers)
        self.decoder = Stack(config, config.decoder_layers, cross=True, both_ways=False)
        if config.shared_stacks:
            share(self.encoder, self.decoder)

    @classmethod
    def depths(cls, reference: CoreConfig, stacks: Stacks | None = None) -> Iterator[CoreConfig]:
        """How to divide a single stack's depth between encoder and decoder (Raffel et al. 2020, section 3.2).

        halves: half of the layers each, an odd one to either (P parameters, ½M compute). double: all layers
        each (2P, M). shared: the same with one set of weights (P, M). None: halves first, then deeper ones up
        to double: a token passes one stack only, so that more layers are needed to match FLOPs.
        """
        L = reference.layers
        if stacks in ("double", "shared"):
            yield replace(reference, decoder_layers=L, shared_stacks=stacks == "shared")
            return
        for total in range(max(L, 2), L + 1 if stacks == "halves" and L > 1 else 2 * L + 1):
            for encoder in dict.fromkeys(((total + 1) // 2, total // 2)):
                yield replace(reference, layers=encoder, decoder_layers=total - encoder)

    @classmethod
    def times_parameters(cls, stacks: Stacks | None) -> int:
        return 2 if stacks == "double" else 1

    def first(self, batch: Batch) -> Tensor:
        """The input (B,S,D) of the encoder's first block."""
        assert batch.source is not None
        assert batch.source_positions is not None
        return self.source_placement(self.embedding(batch.source), batch.source_positions)

    def encode(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The encoder's output (B,S,D) for the source, and each encoder layer's output.

        Raises UserError for a batch without a source.
        """
        if batch.source is None:
            raise UserError(
                "an encoder-decoder reads batch.source, and none came; give one, with no cells if empty"
            )
        assert batch.source_positions is not None
        self.check_length(batch.source_positions)
        return self.encoder(self.first(batch), batch.source_positions, encoder_mask(batch))

    def hidden(self, batch: Batch) -> Hidden:
        self.check_length(batch.positions)
        memory, source_layers = self.encode(batch)
        rows, layers = self.decoder(
            self.embed(batch.tokens, batch.positions),
            batch.positions,
            decoder_mask(batch),
            memory=memory,
            memory_mask=cross_mask(batch),
            memory_length=memory.shape[1],
        )
        return Hidden(take_targets(rows, batch), rows, layers, memory, source_layers)

    def steps(self, batch: Batch, length: int) -> Steps:
        memory, _ = self.encode(batch)
        batch = replace(batch, token_types=None)  # as in `hidden`
        return PromptSteps(self, self.decoder, decoder_mask, batch, length, (memory, cross_mask))

    def flops(self, batch: Batch) -> int:
        assert batch.source is not None
        (B, T), S = batch.tokens.shape, batch.source.shape[1]
        body = stack_flops(self.config, self.config.layers, rows=S, keys=S)
        body += stack_flops(self.config, self.decoder_layers, rows=T, keys=T, memory=S)
        once = distance_flops(self.config, self.config.layers, keys=S)
        once += distance_flops(self.config, self.decoder_layers, keys=T)
        return B * body + once + head_flops(self.config, len(batch.target_index))

    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> Reach:
        if declared is not None:
            raise UserError(f"{self.kind} has more than one mask; check it without `declared`")
        assert batch.source is not None
        assert batch.source_positions is not None
        (B, T), S = batch.tokens.shape, batch.source.shape[1]
        t, s = torch.arange(T, device=batch.device), torch.arange(S, device=batch.device)
        encoded = closure(seen_in(self.encoder, encoder_mask(batch), batch.source_positions))
        crossing = (cross_mask(batch).dense(B, t, s).float() @ encoded[-1].float()) > 0
        seen = seen_in(self.decoder, decoder_mask(batch), batch.positions)
        decoded, source = [], torch.zeros_like(crossing)
        for layer, own in zip(seen, closure(seen), strict=True):
            source = closure([layer], source)[0] | crossing
            decoded.append({"tokens": own, "source": source})
        return {"source": [{"source": reached} for reached in encoded], "tokens": decoded}
