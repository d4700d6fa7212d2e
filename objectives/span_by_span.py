"""Generation span by span in the query rows of a permuted LM (Xiao et al. 2020, ERNIE-GEN)."""

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
LONGEST = 1000  # tokens of a span: any window cuts it


class SpanBySpan(BlankFilling):
    """Each document's rest is predicted given its beginning, word by word or a span at a time.

    A document is split at a share uniform in [low, high] of its tokens that are not special; at least one is
    target. With probability `words` the document is predicted word by word, else in spans of 1 to `longest`
    tokens, every length alike, the last one cut off at the document's end. The tokens of span j have rank j:
    the query rows, which are ERNIE-GEN's [ATTN] rows, see the source and all spans before their own, so that
    a span's tokens are predicted independently of each other. With 40 41 as source, the spans 42 43 and
    44 45, and noise, 77, where later rows see 43; word by word the ranks would be 0 0 1 2 3 4 4:

    >>> text, seen = windows([[40, 41, 42, 43, 44, 45, 2]]), torch.tensor([[40, 41, 42, 77, 44, 45, 2]])
    >>> ranks = torch.tensor([[0, 0, 1, 1, 2, 2, 2]])
    >>> batch = SpanBySpan(VOCABULARY, "permuted").batch(text, seen, ranks)
    >>> show(batch, "tokens", "targets", "weights", "rank", "queries")
    tokens   40 41 42 77 44 45  2
    targets  40 41 42 43 44 45  2
    weights   0  0  1  1  1  1  0
    rank      0  0  1  1  2  2  2
    queries   2  3  4  5 -1 -1 -1

    Special tokens are not asked; one in the target has the rank of the token before it, so that no row knows
    where its document ends. A document without any source does not ask what would see nothing. A target
    token is replaced by a random one with probability `noise` where later rows see it (noise-aware
    generation). inside="sequential" keeps the draws and ranks the tokens of a span one after another, which
    is word by word: the control.

    Unlike the paper's: a document takes one of the two flows, and not the mean of both on the same text
    (there with a weight of 0.5 each, the default of `words`); spans are drawn, at most three tokens as there,
    where they are a corpus's significant bigrams and trigrams; content rows of a span see each other; the
    target is the document's rest, from a quarter to three quarters of it since texts are continued after
    contexts of any length, and not fragments of a quarter. Query rows are never keys; there each
    sees itself too.
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
        # A special token has the rank of the last ordinary one before it, if that is of its own document.
        before = ordinary.cells.cumsum(1) - 1
        same = ordinary.document.gather(1, before.clamp(min=0)) == document_starts(
            windows.tokens, windows.segments
        )
        return rank.gather(1, before.clamp(min=0)).masked_fill(~same | (before < 0), 0)

    def _begins(self, first: Tensor, split: Tensor, size: Tensor, rng: torch.Generator) -> Tensor:
        """Where spans begin (B,W) bool: at each document's split, and behind each span."""
        width = first.shape[1]
        drawn = torch.randint(1, self.longest + 1, first.shape, generator=rng)
        # A document of n tokens has n draws of its own, and no more than n spans.
        behind = drawn.cumsum(1)
        behind = split + behind - (behind - drawn).gather(1, first)
        column = torch.where(behind < size, first + behind, width)
        begins = torch.zeros(len(first), width + 1, dtype=torch.bool).scatter_(1, column, True)
        return begins.scatter_(1, first + split, True)[:, :width]

    def batch(self, windows: Windows, seen: Tensor, rank: Tensor) -> Batch:
        """The batch of windows of which later rows see `seen` (B,W), predicted by `rank` (B,W).

        The number of query rows is one of two, whatever the seed: the usual one, which a full row always
        fits, or the window's, for rows that pack many short documents.
        """
        tokens, width = windows.tokens, windows.tokens.shape[1]
        first = document_starts(tokens, windows.segments)
        asked = above_lowest(rank, first) & ~self.vocabulary.special[tokens]
        longest = int(asked.sum(1).max())
        usual = min(rounded(width - int(self.low * width) + SLACK), width)
        columns = repeat(torch.arange(width), "w -> b w", b=len(tokens))
        queries = pack_left(columns, asked, longest, PADDING)
        return Batch.of(
            seen,
            tokens,
            asked,
            segments=windows.segments,
            rank=rank,
            queries=widened(queries, usual if longest <= usual else width, PADDING),
        )
