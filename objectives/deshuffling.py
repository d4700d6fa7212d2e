"""Deshuffling: the text is predicted from its shuffled tokens (Liu et al. 2019; Raffel et al. 2020, T5)."""

from __future__ import annotations

import torch
from einops import repeat

from objectives.base import Windows
from objectives.documents import per_document, reordered
from objectives.reconstruction import Reconstruction


class Deshuffling(Reconstruction):
    """The source has each document's tokens in random order; the target is the text.

    A special token at a document's end stays there.

    >>> text = windows([[40, 41, 42, 43, 2]])
    >>> show(Deshuffling(VOCABULARY, "source_target").build(text, seeded(2)), "source", "tokens", "targets")
    source   41 43 42 40  2
    tokens    1 40 41 42 43
    targets  40 41 42 43  2

    A single stack reads the source and then the target: twice the window. For a continuation, the source is
    the context. In training all target tokens were in the source, so scores of tokens that are not in it are
    unreliable.
    """

    name = "deshuffling"
    moves_text = True
    families = ("encoder_decoder", "prefix_lm", "decoder_ar")

    def damaged(self, windows: Windows, rng: torch.Generator) -> Windows:
        B, W = windows.tokens.shape
        columns = repeat(torch.arange(W), "w -> b w", b=B)
        return reordered(windows, per_document(columns, rng), self.vocabulary)
