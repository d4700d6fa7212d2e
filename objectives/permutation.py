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
    """Predicts the last 1/k of a random order of the row's tokens, each given all tokens before it.

    A row of W tokens has max(1, round(W/k)) targets, or as many as it has tokens that are not special. The
    rest is context (rank 0), which is read in both directions. If all tokens of a document are targets, the
    first one would see nothing and has weight 0. Here three of six are targets, the last of them 41:

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
        """`tokens` are the raw text: content rows hold it, and the mask hides targets from queries."""
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
        """Left to right. Without context, the first token's query row sees no token, but is a target too.

        Training has no such target, so its score is unreliable: close to the frequency of the token. bos is
        not used as context: training has none, and with it this token and those after it became less likely
        (docs/scoring.md).
        """
        return super().ask(context, continuation)
