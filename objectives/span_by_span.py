"""Span-by-span generation with a permuted LM's query rows (Xiao et al. 2020, ERNIE-GEN)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from einops import repeat
from torch import Tensor

from archs.batch import PADDING, Batch
from archs.errors import UserError, unknown
from objectives.base import Layout, Vocabulary, Windows
from objectives.blank_filling import BlankFilling
from objectives.documents import Ordinary, above_lowest, per_document
from objectives.layouts import document_starts, pack_left
from objectives.replace import random_token
from objectives.widths import SLACK, rounded, widened

Inside = Literal["independent", "sequential"]
LONGEST = 1000  # tokens of a span: windows are shorter


class SpanBySpan(BlankFilling):
    """The rest of each document is predicted given its beginning, token by token or span by span.

    A document is split at a share of its ordinary tokens that is uniform in [low, high]; at least one token
    is a target. With probability `words` the document is predicted token by token, else in spans of 1 to
    `longest` tokens, all lengths equally likely, the last one cut off at the document's end. The tokens of
    span j have rank j. Query rows, which are ERNIE-GEN's [ATTN] rows, see the source and all earlier spans,
    so that a span's tokens are predicted independently of each other. Here 40 41 are the source, 42 43 and
    44 45 the spans, and later rows see the noise 77 in place of 43; token by token the ranks would be
    0 0 1 2 3 4 4:

    >>> text, seen = windows([[40, 41, 42, 43, 44, 45, 2]]), torch.tensor([[40, 41, 42, 77, 44, 45, 2]])
    >>> ranks = torch.tensor([[0, 0, 1, 1, 2, 2, 2]])
    >>> batch = SpanBySpan(VOCABULARY, "permuted").batch(text, seen, ranks)
    >>> show(batch, "tokens", "targets", "weights", "rank", "queries")
    tokens   40 41 42 77 44 45  2
    targets  40 41 42 43 44 45  2
    weights   0  0  1  1  1  1  0
    rank      0  0  1  1  2  2  2
    queries   2  3  4  5 -1 -1 -1

    Special tokens are no targets. One in the target part has the rank of the token before it, so that no row
    knows where its document ends. In a document without a source, query rows that would see nothing have no
    target. With probability `noise`, later rows see a random token in place of a target token (noise-aware
    generation). inside="sequential" is the control: it uses the same draws, but ranks the tokens of a span
    one after another, which is token by token.

    Differences from the paper: a document is predicted in one of the two ways, not as the mean of both on the
    same text (there with a weight of 0.5 each, the default of `words`); spans are drawn at random, of at most
    three tokens as there, while the paper's are a corpus's significant bigrams and trigrams; content rows of
    a span see each other; the target is the rest of the document, from a quarter to three quarters of it,
    since texts are continued after contexts of any length, not fragments of a quarter; query rows are never
    keys, while there each sees itself too.
    """

    name = "span_by_span"
    families = ("permuted_lm",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        low: float = 0.25,
        high: float = 0.75,
        words: float = 0.5,
        longest: int = 3,
        noise: float = 0.05,
        inside: Inside = "independent",
    ) -> None:
        super().__init__(vocabulary, layout)
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"objective 'span_by_span': low={low}, high={high} must satisfy 0 <= low <= high <= 1"
            )
        for option, share in (("words", words), ("noise", noise)):
            if not 0 <= share <= 1:
                raise UserError(f"objective 'span_by_span': {option}={share} is not a share from 0 to 1")
        if not 1 <= longest <= LONGEST:
            raise UserError(f"objective 'span_by_span': longest={longest} is not from 1 to {LONGEST}")
        if inside not in get_args(Inside):
            raise unknown("inside of objective 'span_by_span'", inside, get_args(Inside))
        self.low = low
        self.high = high
        self.words = words
        self.longest = longest
        self.noise = noise
        self.inside = inside

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        rank = self.ranks(windows, rng)
        target = (rank > 0) & ~self.vocabulary.special[windows.tokens]
        noisy = target & (torch.rand(rank.shape, generator=rng) < self.noise)
        return self.batch(windows, random_token(windows.tokens, noisy, self.vocabulary, rng), rank)

    def ranks(self, windows: Windows, rng: torch.Generator) -> Tensor:
        """The step at which each token is predicted, 0 in the source: (B,W) int64."""
        ordinary = Ordinary.of(windows, self.vocabulary)
        first, place, size = ordinary.first, ordinary.place, ordinary.size
        share = per_document(first, rng) * (self.high - self.low) + self.low
        split = (share * size).long().minimum(size - 1)
        in_target = place >= split
        begins = self._begins(first, split, size, rng)
        word_by_word = per_document(first, rng) < self.words
        if self.inside == "sequential":
            word_by_word = torch.ones_like(word_by_word)
        begins = torch.where(word_by_word, in_target, begins).long()
        so_far = begins.cumsum(1)
        rank = so_far - (so_far - begins).gather(1, first)
        # A special token has the rank of the last ordinary token before it in its document, else 0.
        before = ordinary.cells.cumsum(1) - 1
        same = ordinary.document.gather(1, before.clamp(min=0)) == document_starts(
            windows.tokens, windows.segments
        )
        return rank.gather(1, before.clamp(min=0)).masked_fill(~same | (before < 0), 0)

    def _begins(self, first: Tensor, split: Tensor, size: Tensor, rng: torch.Generator) -> Tensor:
        """The first tokens of spans, (B,W) bool: at each document's split, and after each span."""
        width = first.shape[1]
        drawn = torch.randint(1, self.longest + 1, first.shape, generator=rng)
        # A document of n tokens has n draws of its own, and at most n spans.
        behind = drawn.cumsum(1)
        behind = split + behind - (behind - drawn).gather(1, first)
        column = torch.where(behind < size, first + behind, width)
        begins = torch.zeros(len(first), width + 1, dtype=torch.bool).scatter_(1, column, True)
        return begins.scatter_(1, first + split, True)[:, :width]

    def batch(self, windows: Windows, seen: Tensor, rank: Tensor) -> Batch:
        """The batch of the windows, predicted in the order of `rank` (B,W); later rows see `seen` (B,W).

        The number of query rows has one of two values whatever the seed: the usual one, which any full row
        fits, or the window's, for rows that pack many short documents.
        """
        tokens, width = windows.tokens, windows.tokens.shape[1]
        first = document_starts(tokens, windows.segments)
        is_target = above_lowest(rank, first) & ~self.vocabulary.special[tokens]
        longest = int(is_target.sum(1).max())
        usual = min(rounded(width - int(self.low * width) + SLACK), width)
        columns = repeat(torch.arange(width), "w -> b w", b=len(tokens))
        queries = pack_left(columns, is_target, longest, PADDING)
        return Batch.of(
            seen,
            tokens,
            is_target,
            segments=windows.segments,
            rank=rank,
            queries=widened(queries, usual if longest <= usual else width, PADDING),
        )
