"""Permutation language modelling: the last tokens of a random order (Yang et al. 2019, XLNet)."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import PADDING, Batch
from archs.errors import UserError
from objectives.base import Layout, Vocabulary, Windows
from objectives.blank_filling import BlankFilling
from objectives.documents import above_lowest
from objectives.layouts import document_starts
from objectives.select_parts import traits


class Permutation(BlankFilling):
    """Predicts the last 1/k of a random order of the row's tokens, each given all that come before it.

    A row of W tokens has max(1, round(W/k)) targets, fewer only where fewer tokens are not special. The
    rest is context (rank 0) and sees itself in both directions. Where a whole document is to be predicted,
    its first target would see nothing and is not asked. Here three in six, the last of them at 41:

    >>> text = windows([[40, 41, 42, 43, 44, 2]])
    >>> show(Permutation(VOCABULARY, "permuted", k=2).build(text, seeded(3)), "rank", "queries", "weights")
    rank     1 3 0 2 0 0
    queries  0 1 3
    weights  1 1 0 1 0 0
    """

    name = "permutation"
    families = ("permuted_lm",)

    def __init__(self, vocabulary: Vocabulary, layout: Layout, k: int = 6) -> None:
        super().__init__(vocabulary, layout)
        if k < 1:
            raise UserError(
                f"objective 'permutation': k={k} is below 1; one token in k is predicted, XLNet's is 6"
            )
        self.k = k

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        """`tokens` are the raw text: the content stream shows it and the mask hides it."""
        tokens, segments = windows.tokens, windows.segments
        width = tokens.shape[1]
        number = max(1, round(width / self.k))
        _, special = traits(tokens, segments, self.vocabulary)
        order = torch.rand(tokens.shape, generator=rng).masked_fill(special, 2.0).argsort(1)[:, :number]
        usable = torch.arange(number) < (~special).sum(1, keepdim=True)
        places = torch.where(usable, torch.arange(number) + 1, 0)
        rank = torch.zeros_like(tokens).scatter_(1, order, places)
        queries = torch.where(usable, order, width).sort(1).values
        return Batch.of(
            tokens,
            tokens,
            (rank > 0) & above_lowest(rank, document_starts(tokens, segments)),
            segments=segments,
            rank=rank,
            queries=queries.masked_fill(queries == width, PADDING),
        )

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """Left to right. Without any context the first token's row sees no token, and is asked all the same.

        Training never asked such a row, so what it says of the first token is a guess, near the frequencies
        of tokens. bos was not in training at all: as context it made this token and those after it less
        likely (docs/scoring.md).
        """
        return super().ask(context, continuation)
