"""Deshuffling: the text from its tokens in random order (Liu et al. 2019; Raffel et al. 2020, T5)."""

from __future__ import annotations

import torch
from einops import repeat

from objectives.base import Windows
from objectives.documents import per_document, reordered
from objectives.reconstruction import Reconstruction


class Deshuffling(Reconstruction):
    """Each document's tokens in random order, the special token at its end where it is, give the text.

    >>> text = windows([[40, 41, 42, 43, 2]])
    >>> show(Deshuffling(VOCABULARY, "source_target").build(text, seeded(2)), "source", "tokens", "targets")
    source   41 43 42 40  2
    tokens    1 40 41 42 43
    targets  40 41 42 43  2

    In a single stack they stand one behind the other, twice the window. Asked for a continuation, the
    source is the context as it is: training always showed all tokens, so what the score says of tokens
    that are not in the source is a guess.
    """

    name = "deshuffling"
    moves_text = True
    families = ("encoder_decoder", "prefix_lm", "decoder_ar")

    def damaged(self, windows: Windows, rng: torch.Generator) -> Windows:
        B, W = windows.tokens.shape
        columns = repeat(torch.arange(W), "w -> b w", b=B)
        return reordered(windows, per_document(columns, rng), self.vocabulary)
