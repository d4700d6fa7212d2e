"""Masked sequence-to-sequence pretraining (Song et al. 2019, MASS)."""

from __future__ import annotations

from dataclasses import replace as with_changes

import torch
from torch import Tensor

from archs.batch import PADDING, Batch, positions_within
from objectives.base import Layout, Objective, Vocabulary, Windows
from objectives.documents import Ordinary, per_document
from objectives.layouts import pack_left, pair, start
from objectives.mlm import check_rate
from objectives.replace import Replace, mask_only
from objectives.widths import SLACK, rounded, widened


class MASS(Objective):
    """One fragment of each document is masked in the source, and the decoder predicts it.

    A fragment is round(rate x n), at least one, neighbouring tokens of a document's n tokens that are not
    special. Its place is uniform; special tokens within it stay in the source. The decoder reads bos and the
    fragment without its last token, and none of the tokens that the source shows, as in the paper. The
    fragment keeps its position ids in the document. With 42 43 44 chosen:

    >>> text = windows([[40, 41, 42, 43, 44, 45, 2]])
    >>> batch = MASS(VOCABULARY, "source_target").batch(text, hiding(42, 43, 44)(text.tokens), seeded())
    >>> show(batch, "source", "tokens", "positions", "targets", "weights")
    source     40 41  3  3  3 45  2
    tokens      1 42 43  0  0  0  0
    positions   2  3  4  0  0  0  0
    targets    42 43 44  0  0  0  0
    weights     1  1  1  0  0  0  0

    Differences from the paper: the decoder begins with bos, not [MASK]; fragments begin at all places with
    equal chance, not more often at the text's ends; `replace` is always [MASK] (objectives.replace.bert gives
    80/10/10).
    """

    name = "mass"
    families = ("encoder_decoder",)
    needs = ("mask",)

    def __init__(
        self, vocabulary: Vocabulary, layout: Layout, rate: float = 0.5, replace: Replace = mask_only
    ) -> None:
        super().__init__(vocabulary, layout)
        check_rate(rate, self.name)
        self.rate = rate
        self.replace = replace

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        return self.batch(windows, self.fragments(windows, rng), rng)

    def fragments(self, windows: Windows, rng: torch.Generator) -> Tensor:
        """The cells to hide, (B,W) bool."""
        ordinary = Ordinary.of(windows, self.vocabulary)
        count = (ordinary.size.double() * self.rate).round().long().clamp(min=1)
        begin = (per_document(ordinary.first, rng) * (ordinary.size - count + 1)).long()
        inside = (ordinary.place >= begin) & (ordinary.place < begin + count) & ordinary.exists
        return ordinary.in_row(inside)

    def batch(self, windows: Windows, hide: Tensor, rng: torch.Generator) -> Batch:
        """The batch in which the cells `hide` (B,W) bool of the windows are predicted.

        The decoder's width has one of two values whatever the seed: the usual one, which any full row fits,
        or the window's, for rows that pack many short documents.
        """
        tokens, width = windows.tokens, windows.tokens.shape[1]
        segments = torch.zeros_like(tokens) if windows.segments is None else windows.segments
        longest = int(hide.sum(1).max())
        usual = min(rounded(max(round(self.rate * width), 1) + SLACK), width)
        target_width = usual if longest <= usual else width

        def fragment(values: Tensor, fill: int) -> Tensor:
            return widened(pack_left(values, hide, longest, fill), target_width, fill)

        made = pair(
            self.layout,
            self.replace(tokens, hide, self.vocabulary, rng),
            segments,
            fragment(tokens, self.vocabulary.pad),
            fragment(segments, PADDING),
            self.vocabulary,
        )
        return with_changes(made, positions=fragment(positions_within(tokens, segments), 0))

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """The continuation is the fragment, so the source tells its length."""
        source = self._source(context, continuation.shape[1])
        return _behind(context, pair(self.layout, source, None, continuation, None, self.vocabulary))

    def prompt(self, context: Tensor, length: int) -> Batch:
        bos = context.new_full((len(context), 1), self.vocabulary.bos)
        return _behind(context, start(self.layout, self._source(context, length), bos))

    def _source(self, context: Tensor, length: int) -> Tensor:
        assert self.vocabulary.mask is not None
        return torch.cat((context, context.new_full((len(context), length), self.vocabulary.mask)), 1)


def _behind(context: Tensor, batch: Batch) -> Batch:
    return with_changes(batch, positions=batch.positions + context.shape[1])
