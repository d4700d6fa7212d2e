"""Reconstruction of a text from a corrupted copy: the base of denoising, deshuffling and joint."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Objective, Windows
from objectives.layouts import pair, start


class Reconstruction(Objective):
    """The source is `damaged(text)`, and the target is the text, of which every token is predicted.

    The source is as wide as the window, with padding if the corruption makes it shorter.
    """

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        tokens, segments = windows.tokens, windows.segments
        segments = torch.zeros_like(tokens) if segments is None else segments
        read = self.damaged(Windows(tokens, segments), rng)
        return pair(self.layout, read.tokens, read.segments, tokens, segments, self.vocabulary)

    def damaged(self, windows: Windows, rng: torch.Generator) -> Windows:
        """The source for windows with segments: windows of the same shape."""
        raise NotImplementedError

    def unknown(self, length: int) -> int:
        """The number of [MASK]s in the source for a continuation of `length` tokens."""
        return 0

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """The source is the context and [MASK]s for the continuation; the decoder reads the context again.

        The context's tokens are given to the decoder and are no targets.
        """
        target = torch.cat((context, continuation), 1)
        weights = torch.ones(target.shape)
        weights[:, : context.shape[1]] = 0
        source = self._source(context, continuation.shape[1])
        return pair(self.layout, source, None, target, None, self.vocabulary, weights)

    def prompt(self, context: Tensor, length: int) -> Batch:
        bos = context.new_full((len(context), 1), self.vocabulary.bos)
        return start(self.layout, self._source(context, length), torch.cat((bos, context), 1))

    def _source(self, context: Tensor, length: int) -> Tensor:
        masks = self.unknown(length)
        if masks == 0:
            return context
        assert self.vocabulary.mask is not None
        return torch.cat((context, context.new_full((len(context), masks), self.vocabulary.mask)), 1)
