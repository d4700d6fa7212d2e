"""Prefix language modelling: predicts the rest of a text given its beginning (Raffel et al. 2020)."""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor

from archs.batch import PADDING, Batch
from archs.errors import UserError
from objectives.base import Layout, Objective, Vocabulary, Windows
from objectives.layouts import document_starts, leading, pack_left, pair, shift_right, start


class Prefix(Objective):
    """Each document of a row is split once, at a share of its length that is uniform in [low, high].

    Each document has at least one target. A single stack reads the text once, shifted right: with p tokens of
    prefix, cells 0..p hold bos and the prefix, and cell p is the first that predicts a target.

    >>> text = windows([[40, 41, 42, 2]])
    >>> one_stack = Prefix(VOCABULARY, "concatenated", low=0.5, high=0.5).build(text, seeded())
    >>> show(one_stack, "tokens", "is_prefix", "targets", "weights")
    tokens      1 40 41 42
    is_prefix   1  1  1  0
    targets    40 41 42  2
    weights     0  0  1  1
    >>> two_stacks = Prefix(VOCABULARY, "source_target", low=0.5, high=0.5).build(text, seeded())
    >>> show(two_stacks, "source", "tokens", "targets", "weights")
    source   40 41  0  0
    tokens    1 42  0  0
    targets  42  2  0  0
    weights   1  1  0  0
    """

    name = "prefix"
    families = ("prefix_lm", "decoder_ar", "encoder_decoder")

    def __init__(self, vocabulary: Vocabulary, layout: Layout, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(vocabulary, layout)
        if not 0 <= low <= high <= 1:
            raise UserError(f"objective 'prefix': low={low}, high={high} must satisfy 0 <= low <= high <= 1")
        self.low = low
        self.high = high

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        tokens, segments = windows.tokens, windows.segments
        first = document_starts(tokens, segments)
        place = torch.arange(tokens.shape[1]) - first
        split = self._split(first, rng)
        real = torch.ones_like(place, dtype=torch.bool) if segments is None else segments >= 0
        if self.layout == "source_target":
            return self._two_stacks(windows, (place < split) & real, (place >= split) & real)
        return Batch.of(
            shift_right(tokens, segments, self.vocabulary),
            tokens,
            (place >= split) & real,
            segments=segments,
            is_prefix=(place <= split) & real,
        )

    def _split(self, first: Tensor, rng: torch.Generator) -> Tensor:
        """The number of prefix tokens of each cell's document: (B,W), the same in all its cells."""
        length = torch.zeros_like(first).scatter_add_(1, first, torch.ones_like(first)).gather(1, first)
        share = torch.rand(first.shape, generator=rng).gather(1, first) * (self.high - self.low) + self.low
        return (share * length).long().minimum(length - 1)

    def _two_stacks(self, windows: Windows, in_source: Tensor, in_target: Tensor) -> Batch:
        tokens, width, pad = windows.tokens, windows.tokens.shape[1], self.vocabulary.pad
        segments = torch.zeros_like(tokens) if windows.segments is None else windows.segments
        return pair(
            self.layout,
            pack_left(tokens, in_source, width, pad),
            pack_left(segments, in_source, width, PADDING),
            pack_left(tokens, in_target, width, pad),
            pack_left(segments, in_target, width, PADDING),
            self.vocabulary,
        )

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        if self.layout == "source_target":
            return pair(self.layout, context, None, continuation, None, self.vocabulary)
        text = torch.cat((context, continuation), 1)
        tokens = shift_right(text, None, self.vocabulary)
        columns = repeat(torch.arange(text.shape[1]), "t -> b t", b=len(text))
        return Batch.of(tokens, text, ~leading(context, continuation), is_prefix=columns <= context.shape[1])

    def prompt(self, context: Tensor, length: int) -> Batch:
        bos = context.new_full((len(context), 1), self.vocabulary.bos)
        if self.layout == "source_target":
            return start(self.layout, context, bos)
        tokens = torch.cat((bos, context), 1)
        return Batch.of(tokens, is_prefix=torch.ones_like(tokens, dtype=torch.bool))
