"""Left-to-right language modelling (Radford et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Objective, Windows
from objectives.layouts import leading, shift_right


class Causal(Objective):
    """Every token is a target, given the tokens before it in its document; bos stands before the first.

    >>> batch = Causal(VOCABULARY, "concatenated").build(windows([[40, 41, 42, 2]]), seeded())
    >>> show(batch, "tokens", "targets", "weights")
    tokens    1 40 41 42
    targets  40 41 42  2
    weights   1  1  1  1
    """

    name = "causal"
    families = ("decoder_ar", "prefix_lm")

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        tokens, segments = windows.tokens, windows.segments
        weights = torch.ones(tokens.shape) if segments is None else segments >= 0
        return Batch.of(shift_right(tokens, segments, self.vocabulary), tokens, weights, segments=segments)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        text = torch.cat((context, continuation), 1)
        tokens = shift_right(text, None, self.vocabulary)
        return Batch.of(tokens, text, ~leading(context, continuation))

    def prompt(self, context: Tensor, length: int) -> Batch:
        bos = context.new_full((len(context), 1), self.vocabulary.bos)
        return Batch.of(torch.cat((bos, context), 1))
