"""Masked next-token prediction: masked language modelling one place to the left (GPT-BERT)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from archs.batch import Batch
from archs.families.encoder_ae import mask
from objectives.base import Windows
from objectives.causal import Causal
from objectives.layouts import shift_right
from objectives.mlm import MLM


class MaskedNext(MLM):
    """The row before a hidden token predicts it, from both directions. Charpentier and Samuel 2024.

    The output at t predicts the token at t + 1, as in a causal model, so that one model can be trained by
    both objectives. With 41 and 42 hidden; 43, the last target, is not in the input:

    >>> masked = MaskedNext(VOCABULARY, "concatenated", hiding(41, 42), mask_only)
    >>> show(masked.build(windows([[40, 41, 42, 43]]), seeded()), "tokens", "targets", "weights")
    tokens    1 40  3  3
    targets  40 41 42 43
    weights   0  1  1  0

    The batch has encoder-AE's mask: every row sees its whole document. This objective is meant as a part of a
    mixture with `causal`, by which such a model scores and generates.
    """

    name = "masked_next"
    families = ("decoder_ar", "prefix_lm")

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        hidden = super().build(windows, rng)
        tokens = shift_right(hidden.tokens, hidden.segments, self.vocabulary)
        return replace(hidden, tokens=tokens, mask=mask)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        return Causal(self.vocabulary, self.layout).ask(context, continuation)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return Causal(self.vocabulary, self.layout).prompt(context, length)
