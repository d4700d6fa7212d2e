"""How a family is given text: a [source; target] pair, or a text to be represented.

    in_place        encoder-AE            [source target], nothing hidden
    concatenated    decoder-AR, prefix    [source bos target], one token later
    source_target   encoder-decoder       source to the encoder, [bos target] to the decoder
    permuted        permuted LM           [source target], the target predicted in order

A pair may hold several documents, `A B | A B`; a document's source and target carry the same number.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import repeat
from torch import Tensor

from archs.batch import PADDING, Batch, positions_within
from archs.families.family import Family
from objectives.base import Layout, Vocabulary


def pair(
    layout: Layout,
    source: Tensor,
    source_segments: Tensor | None,
    target: Tensor,
    target_segments: Tensor | None,
    vocabulary: Vocabulary,
    weights: Tensor | None = None,
) -> Batch:
    """A teacher-forced batch that asks for every token of the target.

    source (B,S), target (B,T) int64; segments of the same shapes, -1 = padding, needed where a row has
    padding or several documents, else None for both. weights (B,T) of the target's cells, all 1 if not
    given; padding has 0.

    >>> def pairs(layout, *names):
    ...     source, target = torch.tensor([[50, 51]]), torch.tensor([[40, 41, 2]])
    ...     show(pair(layout, source, None, target, None, VOCABULARY), *names)
    >>> pairs("concatenated", "tokens", "is_prefix", "targets", "weights")
    tokens     50 51  1 40 41
    is_prefix   1  1  0  0  0
    targets    50 51 40 41  2
    weights     0  0  1  1  1
    >>> pairs("source_target", "source", "tokens", "targets")
    source   50 51
    tokens    1 40 41
    targets  40 41  2
    >>> pairs("permuted", "tokens", "targets", "weights", "rank", "queries")  # in_place: without the last two
    tokens   50 51 40 41  2
    targets  50 51 40 41  2
    weights   0  0  1  1  1
    rank      0  0  1  2  3
    queries   2  3  4
    """
    if (source_segments is None) != (target_segments is None):
        raise ValueError("give the segments of both source and target, or of neither")
    weights = torch.ones(target.shape) if weights is None else weights
    if target_segments is not None:
        weights = weights * (target_segments >= 0)
    if layout == "source_target":
        shifted = shift_right(target, target_segments, vocabulary)
        return Batch.of(
            shifted,
            target,
            weights,
            segments=target_segments,
            source=source,
            source_segments=source_segments,
        )
    segments = joined(source_segments, target_segments)
    whole = torch.cat((source, target), 1)
    asked = torch.cat((torch.zeros(source.shape), weights), 1)
    if layout == "concatenated":
        tokens = torch.cat((source, shift_right(target, target_segments, vocabulary)), 1)
        return Batch.of(tokens, whole, asked, segments=segments, is_prefix=leading(source, target))
    if layout == "permuted":
        rank, queries = left_to_right(source.shape[1], target, target_segments)
        return Batch.of(whole, whole, asked, segments=segments, rank=rank, queries=queries)
    return Batch.of(whole, whole, asked, segments=segments, extras=mask_token(whole, vocabulary))


def read(
    layout: Layout,
    tokens: Tensor,
    segments: Tensor | None,
    vocabulary: Vocabulary,
    pair_label: Tensor | None = None,
) -> Batch:
    """A text (B,T) to be represented, no token asked; pair_label (B) is the class asked of the row.

    Prefix and permuted LM read it in both directions. An encoder-decoder reads it twice, as BART does
    (Lewis et al. 2020): the encoder as it is, the decoder shifted.

    >>> show(read("source_target", torch.tensor([[40, 41, 2]]), None, VOCABULARY), "source", "tokens")
    source  40 41  2
    tokens   1 40 41
    """
    if layout == "source_target":
        return Batch.of(
            shift_right(tokens, segments, vocabulary),
            segments=segments,
            source=tokens,
            source_segments=segments,
            pair_label=pair_label,
        )
    return Batch.of(
        tokens,
        segments=segments,
        is_prefix=torch.ones_like(tokens, dtype=torch.bool),
        rank=torch.zeros_like(tokens),
        pair_label=pair_label,
    )


def parts_marked(batch: Batch, family: Family, vocabulary: Vocabulary) -> Batch:
    """The batch of `read` with token types, for a family with more than one: 1 behind a row's first sep.

    So BERT reads a pair: [cls] A [sep] is 0, B [sep] is 1. Where there is no sep, eos stands for it, as
    bos does for cls. One type is too few for two parts, and an encoder-decoder has none.

    >>> from archs import CoreConfig, build
    >>> family = build("encoder_ae", CoreConfig(100, 1, 8, 2, 8, max_length=8, token_types=2))
    >>> batch = read("in_place", torch.tensor([[4, 40, 5, 41, 42, 5]]), None, VOCABULARY)
    >>> show(parts_marked(batch, family, VOCABULARY), "tokens", "token_types")
    tokens        4 40  5 41 42  5
    token_types   0  0  0  1  1  1
    """
    if family.config.token_types < 2 or family.layout == "source_target":
        return batch
    ends = batch.tokens == (vocabulary.eos if vocabulary.sep is None else vocabulary.sep)
    ends[:, 0] = False  # cls, which some tokenizers spell as they do eos
    return replace(batch, token_types=(ends.cumsum(1) > ends.long()).long())


def start(layout: Layout, source: Tensor, first: Tensor, source_segments: Tensor | None = None) -> Batch:
    """The beginning of `pair`, up to where a decoder's first new token is due.

    source (B,S); first (B,F): what the decoder has read already, bos at least. Only the source is prefix,
    so that it sees what it saw in training. source_segments (B,S), -1 = padding, where sources differ in
    length.
    """
    if layout == "source_target":
        return Batch.of(first, source=source, source_segments=source_segments)
    segments = joined(source_segments, torch.zeros_like(first))
    return Batch.of(torch.cat((source, first), 1), segments=segments, is_prefix=leading(source, first))


def blanks(
    layout: Layout,
    source: Tensor,
    lengths: Tensor,
    vocabulary: Vocabulary,
    source_segments: Tensor | None = None,
) -> Batch:
    """source (B,S), then lengths[b] blanks with weight 1 for a family that fills them in: (B,S+max).

    What a row has less than the longest is padding: weight 0, segment -1. source_segments as in `start`.

    >>> source = torch.tensor([[50, 51], [52, 53]])
    >>> batch = blanks("in_place", source, torch.tensor([1, 2]), VOCABULARY)
    >>> show(batch, "tokens", "weights", "segments")
    tokens    50 51  3  0
              52 53  3  3
    weights    0  0  1  0
               0  0  1  1
    segments   0  0  0 -1
               0  0  0  0
    """
    blank = vocabulary.pad if vocabulary.mask is None else vocabulary.mask
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    target = torch.where(real, blank, vocabulary.pad)
    target_segments = None
    if source_segments is not None or not bool(real.all()):
        source_segments = torch.zeros_like(source) if source_segments is None else source_segments
        target_segments = real.long() - 1
    tokens = torch.cat((source, target), 1)
    weights = torch.cat((torch.zeros(source.shape), real.float()), 1)
    segments = joined(source_segments, target_segments)
    if layout == "permuted":
        rank, queries = left_to_right(source.shape[1], target, target_segments)
        return Batch.of(tokens, None, weights, segments=segments, rank=rank, queries=queries)
    return Batch.of(tokens, None, weights, segments=segments, extras=mask_token(tokens, vocabulary))


def shift_right(tokens: Tensor, segments: Tensor | None, vocabulary: Vocabulary) -> Tensor:
    """bos, then each document without its last token: (B,T). Padding stays pad.

    Documents must lie in one piece: `1 2 9 3 4 9 | pad` becomes `bos 1 2 bos 3 4 | pad`.
    """
    shifted = tokens.roll(1, dims=1)
    shifted[:, :1] = vocabulary.bos
    if segments is None:
        return shifted
    shifted[:, 1:].masked_fill_(segments[:, 1:] != segments[:, :-1], vocabulary.bos)
    return shifted.masked_fill_(segments < 0, vocabulary.pad)


def document_starts(tokens: Tensor, segments: Tensor | None) -> Tensor:
    """The column (B,W) at which each cell's document starts; documents lie in one piece."""
    if segments is None:
        return torch.zeros_like(tokens)
    columns = repeat(torch.arange(tokens.shape[1]), "w -> b w", b=len(tokens))
    starts = torch.ones_like(tokens, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(starts, columns, 0).cummax(1).values


def pack_left(values: Tensor, keep: Tensor, width: int, fill: int) -> Tensor:
    """The kept cells of each row (B,W) moved together to the left, then `fill`: (B,width)."""
    place = torch.where(keep, keep.cumsum(1) - 1, width)
    packed = values.new_full((len(values), width + 1), fill)
    return packed.scatter_(1, place, values)[:, :width]


def joined(source_segments: Tensor | None, target_segments: Tensor | None) -> Tensor | None:
    """The segments of [source; target]."""
    if source_segments is None or target_segments is None:
        return None
    return torch.cat((source_segments, target_segments), 1)


def leading(source: Tensor, target: Tensor) -> Tensor:
    """True on the source's cells of [source; target], False on the target's."""
    ones, zeros = torch.ones_like(source), torch.zeros_like(target)
    return torch.cat((ones, zeros), 1).bool()


def left_to_right(source_width: int, target: Tensor, target_segments: Tensor | None) -> tuple[Tensor, Tensor]:
    """rank (B,S+T) and queries (B,T) of a target predicted from left to right, per document."""
    rank = positions_within(target, target_segments) + 1
    queries = repeat(torch.arange(target.shape[1]) + source_width, "t -> b t", b=len(target)).contiguous()
    if target_segments is not None:
        rank = rank.masked_fill(target_segments < 0, 0)
        queries = queries.masked_fill(target_segments < 0, PADDING)
    return torch.cat((rank.new_zeros(len(rank), source_width), rank), 1), queries


def mask_token(tokens: Tensor, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """The extra by which a family that masks for itself knows the mask token: (B)."""
    assert vocabulary.mask is not None, "the in-place layout is for objectives that need the mask token"
    return {"mask": torch.full((len(tokens),), vocabulary.mask)}


def sees_something(
    source: Tensor, source_segments: Tensor | None, target: Tensor, target_segments: Tensor | None
) -> Tensor:
    """False where a target is its document's first and the document has no source: (B,T).

    A permuted LM's query row sees no token there. Training leaves it out, since nothing can be learned
    from it; a score does not, since without it a text's probabilities would not multiply to the text's.
    """
    first = positions_within(target, target_segments) == 0
    if source_segments is None or target_segments is None:
        return ~first if source.shape[1] == 0 else torch.ones_like(first)
    given = (target_segments[:, :, None] == source_segments[:, None, :]).any(2)
    return given | ~first
