"""Pseudo-masked language modelling: autoencoding and partially autoregressive prediction in one pass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from einops import repeat
from torch import Tensor

from archs.batch import PADDING, Batch, positions_within
from archs.errors import UserError
from archs.masks import Mask, document
from objectives.base import Layout, Vocabulary, Windows
from objectives.blank_filling import BlankFilling
from objectives.layouts import document_starts, pack_left
from objectives.mlm import check_rate
from objectives.select_parts import budget, traits
from objectives.widths import rounded, widened

LONGEST = 1000  # tokens of a span: windows are shorter


@dataclass(frozen=True, eq=False)
class _Blockwise:
    rank: Tensor

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        query, key = self.rank[b, q], self.rank[b, k]
        return (key == query) | ((key < query) & (key % 2 == 0))


def mask(batch: Batch) -> Mask:
    """Text and originals are visible to rows of at least their rank, pseudo masks (odd ranks) to equal ranks.

    Ranks are in `batch.extras["rank"]` (B,T): 0 for the text, 2i for the originals and 2i - 1 for the pseudo
    masks of block i = 1, 2, …
    """
    return Mask(_Blockwise(batch.extras["rank"]), "blockwise") & document(batch.segments)


class PseudoMasked(BlankFilling):
    """Hidden tokens are predicted twice: at [MASK] given the text, and block by block in a random order.

    Bao et al. 2020 (UniLMv2). Blocks are drawn until round(rate x maskable) tokens are hidden, the last one
    truncated. A block is, with probability `spans`, a run of 2 to `longest` tokens, else one token, at a
    uniform place. Blocks may touch; a special token or a document's border cuts a block into two. Blocks are
    predicted in the order in which they were drawn. With 43 44 as first block and 41 as second, [M] = 3 and
    [P] = 6:

    >>> pseudo = PseudoMasked(VOCABULARY, "in_place", rate=0.5)
    >>> text, columns, blocks = windows([[40, 41, 42, 43, 44, 2]]), [[3, 4, 1]], [[1, 1, 2]]
    >>> batch = pseudo.batch(text, torch.tensor(columns), torch.tensor(blocks))
    >>> show(batch, "tokens", "positions", "extras.rank", "targets", "weights")
    tokens       40  3 42  3  3  2 43 44 41  6  6  6  0  0  0  0
    positions     0  1  2  3  4  5  3  4  1  3  4  1  0  0  0  0
    extras.rank   0  0  0  0  0  0  2  2  4  1  1  3  0  0  0  0
    targets      40 41 42 43 44  2 43 44 41 43 44 41  0  0  0  0
    weights       0  1  0  1  1  0  0  0  0  1  1  1  0  0  0  0

    The batch has the mask `mask`. Text sees text, so [M] is predicted as in MLM (autoencoding). A block's [P]
    sees the text, the originals of earlier blocks and its own block's [P], so that a block's tokens are
    predicted independently of each other (partially autoregressive). All rows have the width of a full row.

    [P] is the tokenizer's first sentinel, which an encoder-AE does not use otherwise (mode tokens are the
    last ones). Without sentinels it is [MASK], and ranks and positions distinguish the two. Differences from
    the paper: the loss is the mean of both kinds, not the sum; hidden cells always hold [MASK]; the last
    block is truncated. UniLMv2's finetuning as a sequence-to-sequence model is left out: scores and
    generation are as in MLM.
    """

    name = "pseudo_masked"
    families = ("encoder_ae",)
    needs = ("mask",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        rate: float = 0.15,
        spans: float = 0.4,
        longest: int = 6,
    ) -> None:
        super().__init__(vocabulary, layout)
        check_rate(rate, self.name)
        if not 0 <= spans <= 1:
            raise UserError(
                f"objective 'pseudo_masked': spans={spans} is not a share from 0 to 1; UniLMv2's is 0.4"
            )
        if not 2 <= longest <= LONGEST:
            raise UserError(
                f"objective 'pseudo_masked': longest={longest} is not from 2, the shortest span, to "
                f"{LONGEST}; UniLMv2 has 6"
            )
        self.rate = rate
        self.spans = spans
        self.longest = longest

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        return self.batch(windows, *self.blocks(windows, rng))

    def blocks(self, windows: Windows, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The cells to hide, in order of prediction: columns (B,M), -1 = unused; blocks (B,M), 0 = unused."""
        tokens, segments = windows.tokens, windows.segments
        rows, width = tokens.shape
        _, special = traits(tokens, segments, self.vocabulary)
        count = budget(special, self.rate)[:, None]
        slots = repeat(torch.arange(max(1, round(self.rate * width))), "m -> b m", b=rows).contiguous()
        ends = self._lengths(slots.shape, rng).cumsum(1).minimum(count)
        lengths = ends.diff(dim=1, prepend=torch.zeros_like(count))
        begins = _places(lengths, (~special).sum(1, keepdim=True), width, rng)
        drawn = torch.searchsorted(ends, slots, right=True).clamp(max=slots.shape[1] - 1)
        place = (begins - ends + lengths).gather(1, drawn) + slots
        maskable = pack_left(repeat(torch.arange(width), "w -> b w", b=rows), ~special, width, 0)
        columns = maskable.gather(1, place.clamp(max=width - 1))
        starts = document_starts(tokens, segments).gather(1, columns)
        goes_on = (drawn.diff(dim=1) == 0) & (columns.diff(dim=1) == 1) & (starts.diff(dim=1) == 0)
        used = slots < count
        begun = used.clone()
        begun[:, 1:] &= ~goes_on
        return columns.masked_fill(~used, PADDING), begun.cumsum(1) * used

    def _lengths(self, shape: torch.Size, rng: torch.Generator) -> Tensor:
        """Random lengths of blocks, int64."""
        spans = torch.randint(2, self.longest + 1, shape, generator=rng)
        return torch.where(torch.rand(shape, generator=rng) < self.spans, spans, 1)

    def batch(self, windows: Windows, columns: Tensor, blocks: Tensor) -> Batch:
        """The batch in which the cells at `columns` (B,M) of the windows are hidden, in `blocks` (B,M)."""
        assert self.vocabulary.mask is not None
        tokens, pad = windows.tokens, self.vocabulary.pad
        segments = torch.zeros_like(tokens) if windows.segments is None else windows.segments
        width, used = tokens.shape[1], columns >= 0
        total = rounded(width + 2 * columns.shape[1])
        hide = torch.zeros(len(tokens), width + 1, dtype=torch.bool)
        hide = hide.scatter_(1, columns.masked_fill(~used, width), True)[:, :width]

        def hidden(values: Tensor, fill: int) -> Tensor:
            return values.gather(1, columns.clamp(min=0)).masked_fill(~used, fill)

        def concatenated(text: Tensor, originals: Tensor, pseudo: Tensor, fill: int) -> Tensor:
            return widened(torch.cat((text, originals, pseudo), 1), total, fill)

        def copied(values: Tensor, fill: int) -> Tensor:
            return concatenated(values, hidden(values, fill), hidden(values, fill), fill)

        originals, text = hidden(tokens, pad), tokens.masked_fill(hide, self.vocabulary.mask)
        pseudo = torch.full_like(columns, (*self.vocabulary.sentinels, self.vocabulary.mask)[0])
        rank = concatenated(torch.zeros_like(tokens), 2 * blocks, (2 * blocks - 1).clamp(min=0), 0)
        made = Batch.of(
            concatenated(text, originals, pseudo.masked_fill(~used, pad), pad),
            copied(tokens, pad),
            concatenated(hide, torch.zeros_like(used), used, 0),
            segments=copied(segments, PADDING),
            extras={"rank": rank},
            mask=mask,
        )
        return dataclasses.replace(made, positions=copied(positions_within(tokens, segments), 0))


def _places(lengths: Tensor, maskable: Tensor, width: int, rng: torch.Generator) -> Tensor:
    """The places (B,M) at which spans of lengths (B,M) begin among maskable[b] tokens; length 0 = no span.

    All arrangements of spans and kept tokens are equally likely, whatever the order of the spans.
    """
    number = (lengths > 0).sum(1, keepdim=True)
    items = maskable - lengths.sum(1, keepdim=True) + number
    luck = torch.rand(len(lengths), width, generator=rng).masked_fill(torch.arange(width) >= items, 2.0)
    item = luck.argsort(1)[:, : lengths.shape[1]]
    longer = torch.zeros(luck.shape, dtype=torch.long).scatter_(1, item, (lengths - 1).clamp(min=0))
    return item + (longer.cumsum(1) - longer).gather(1, item)
