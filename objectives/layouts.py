"""Layouts: how a family reads a [source; target] pair, or a text to represent.

    in_place        encoder-AE            [source target], nothing hidden
    concatenated    decoder-AR, prefix    [source bos target], one token later
    source_target   encoder-decoder       source to the encoder, [bos target] to the decoder
    permuted        permuted LM           [source target], the target predicted in order

A pair may hold several documents, `A B | A B`; a document's source and target have the same number.
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
    """A teacher-forced batch in which every token of the target is predicted.

    source (B,S), target (B,T) int64; segments of the same shapes, -1 = padding, if a row has padding or
    several documents, else None for both. weights (B,T) of the target's cells, all 1 if not given; padding
    gets 0. Raises ValueError for the segments of only one of them.

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
    weights = torch.cat((torch.zeros(source.shape), weights), 1)
    if layout == "concatenated":
        tokens = torch.cat((source, shift_right(target, target_segments, vocabulary)), 1)
        return Batch.of(tokens, whole, weights, segments=segments, is_prefix=leading(source, target))
    if layout == "permuted":
        rank, queries = left_to_right(source.shape[1], target, target_segments)
        return Batch.of(whole, whole, weights, segments=segments, rank=rank, queries=queries)
    return Batch.of(whole, whole, weights, segments=segments, extras=mask_token(whole, vocabulary))


def read(
    layout: Layout,
    tokens: Tensor,
    segments: Tensor | None,
    vocabulary: Vocabulary,
    pair_label: Tensor | None = None,
) -> Batch:
    """A batch to represent texts (B,T), without target tokens; pair_label (B): the class of each row.

    Prefix and permuted LM read a text in both directions. An encoder-decoder reads it twice, as BART does
    (Lewis et al. 2020): the encoder reads the text, the decoder the text shifted right.

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
    """The batch of `read` with token types, for a family with at least two: 1 behind a row's first sep.

    BERT reads a pair so: [cls] A [sep] has type 0, B [sep] type 1. Without a sep in the vocabulary, eos takes
    its place, as bos takes that of cls. For a family with fewer types, and for an encoder-decoder, the batch
    stays as it is.

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
    ends[:, 0] = False  # this is cls, which in some tokenizers is the same token as eos
    return replace(batch, token_types=(ends.cumsum(1) > ends.long()).long())


def start(layout: Layout, source: Tensor, first: Tensor, source_segments: Tensor | None = None) -> Batch:
    """The beginning of `pair`, up to a decoder's first new token: a prompt.

    source (B,S). first (B,F): the decoder's first tokens, at least bos. Only the source is prefix, so that it
    sees the same as in training. source_segments (B,S), -1 = padding, if sources differ in length.
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
    """source (B,S), then lengths[b] blanks with weight 1, for a family that fills blanks: (B,S+max).

    Shorter rows are padded: weight 0, segment -1. source_segments as in `start`.

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
    """Each document shifted right by one: bos, then all its tokens but the last: (B,T). Padding stays pad.

    A document's cells must be neighbours: `1 2 9 3 4 9 | pad` becomes `bos 1 2 bos 3 4 | pad`.
    """
    shifted = tokens.roll(1, dims=1)
    shifted[:, :1] = vocabulary.bos
    if segments is None:
        return shifted
    shifted[:, 1:].masked_fill_(segments[:, 1:] != segments[:, :-1], vocabulary.bos)
    return shifted.masked_fill_(segments < 0, vocabulary.pad)


def document_starts(tokens: Tensor, segments: Tensor | None) -> Tensor:
    """The column (B,W) at which each cell's document starts. A document's cells must be neighbours."""
    if segments is None:
        return torch.zeros_like(tokens)
    columns = repeat(torch.arange(tokens.shape[1]), "w -> b w", b=len(tokens))
    starts = torch.ones_like(tokens, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(starts, columns, 0).cummax(1).values


def pack_left(values: Tensor, keep: Tensor, width: int, fill: int) -> Tensor:
    """The kept cells of each row (B,W), packed to the left and followed by `fill`: (B,width)."""
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
    """rank (B,S+T) and queries (B,T) for a target that is predicted from left to right in each document."""
    rank = positions_within(target, target_segments) + 1
    queries = repeat(torch.arange(target.shape[1]) + source_width, "t -> b t", b=len(target)).contiguous()
    if target_segments is not None:
        rank = rank.masked_fill(target_segments < 0, 0)
        queries = queries.masked_fill(target_segments < 0, PADDING)
    return torch.cat((rank.new_zeros(len(rank), source_width), rank), 1), queries


def mask_token(tokens: Tensor, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """The extra with the mask token (B), for a family that masks tokens itself."""
    assert vocabulary.mask is not None, "the in-place layout is for objectives that need the mask token"
    return {"mask": torch.full((len(tokens),), vocabulary.mask)}


def sees_something(
    source: Tensor, source_segments: Tensor | None, target: Tensor, target_segments: Tensor | None
) -> Tensor:
    """(B,T) bool: False for the first target of a document that has no source.

    There a permuted LM's query row sees no token. Training leaves this target out, since nothing can be
    learned from it. A score includes it, since otherwise the scores would not sum to the text's.
    """
    first = positions_within(target, target_segments) == 0
    if source_segments is None or target_segments is None:
        return ~first if source.shape[1] == 0 else torch.ones_like(first)
    given = (target_segments[:, :, None] == source_segments[:, None, :]).any(2)
    return given | ~first
