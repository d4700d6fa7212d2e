"""Noises: corruptions of a text before an encoder reads it (Lewis et al. 2020, BART).

Each noise is a function `(windows with segments, share, vocabulary, rng) -> windows` of the same shape, so
that noises compose. None makes a row longer than its text, removes a special token, or moves a token to
another document.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from archs.batch import PADDING
from objectives.base import Vocabulary, Windows
from objectives.documents import Ordinary, ends, per_document, reordered, sizes
from objectives.layouts import document_starts, pack_left
from objectives.replace import mask_only
from objectives.select import uniform
from objectives.select_parts import poisson_lengths, traits

Noise = Callable[[Windows, float, Vocabulary, torch.Generator], Windows]

POISSON_MEAN = 3.0


def masking(windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator) -> Windows:
    """A share of the tokens becomes [MASK].

    >>> text = windows([[40, 41, 42, 2]], [[0, 0, 0, 0]])
    >>> outcomes(lambda rng: masking(text, 0.3, VOCABULARY, rng), "tokens")
    tokens   3 41 42  2
    tokens  40  3 42  2
    tokens  40 41  3  2
    """
    hide = _single(windows, share, vocabulary, rng)
    return Windows(mask_only(windows.tokens, hide, vocabulary, rng), windows.segments)


def deletion(windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator) -> Windows:
    """A share of the tokens is removed; the text does not show where.

    >>> text = windows([[40, 41, 42, 2]], [[0, 0, 0, 0]])
    >>> outcomes(lambda rng: deletion(text, 0.3, VOCABULARY, rng), "tokens")
    tokens  40 41  2  0
    tokens  40 42  2  0
    tokens  41 42  2  0
    """
    assert windows.segments is not None
    keep = ~_single(windows, share, vocabulary, rng) & (windows.segments >= 0)
    width = windows.tokens.shape[1]
    tokens = pack_left(windows.tokens, keep, width, vocabulary.pad)
    return Windows(tokens, pack_left(windows.segments, keep, width, PADDING))


def infilling(
    windows: Windows,
    share: float,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    mean: float = POISSON_MEAN,
) -> Windows:
    """Spans become one [MASK] each, whatever their length, which may be 0.

    round(share x n) of a document's n tokens that are not special are hidden, in spans of Poisson lengths
    with that mean; the last one is cut to fit, and spans may touch. A span of length 0 inserts a [MASK]. On
    average e^-mean of all spans have length 0, as Poisson draws would; none is inserted if the row would
    become longer than its text.

    >>> text = windows([[40, 41, 42, 43, 2]], [[0, 0, 0, 0, 0]])
    >>> outcomes(lambda rng: infilling(text, 0.5, VOCABULARY, rng, mean=100), "tokens")
    tokens   3 42 43  2  0
    tokens  40  3 43  2  0
    tokens  40 41  3  2  0
    """
    assert windows.segments is not None
    hide, begins = spans(windows, share, vocabulary, rng, mean)
    keep = (windows.segments >= 0) & (~hide | begins)
    return _with_masks(windows, begins, keep, _insertions(windows, keep, hide, begins, rng, mean), vocabulary)


def sentence_permutation(
    windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator
) -> Windows:
    """The sentences of a share of the documents are put in random order.

    A sentence ends after one or more pieces of `vocabulary.sentence_ends`. Since this is a rule about pieces,
    abbreviations end sentences too. Here 99 ends a sentence:

    >>> text = windows([[40, 99, 41, 42, 99, 2]], [[0, 0, 0, 0, 0, 0]])
    >>> outcomes(lambda rng: sentence_permutation(text, 1.0, VOCABULARY, rng), "tokens")
    tokens  40 99 41 42 99  2
    tokens  41 42 99 40 99  2
    """
    assert vocabulary.sentence_ends is not None, "Denoising refuses a vocabulary without"
    first = document_starts(windows.tokens, windows.segments)
    columns = torch.arange(first.shape[1])
    ended = vocabulary.sentence_ends[windows.tokens]
    begins = first == columns
    begins[:, 1:] |= ended[:, :-1] & ~ended[:, 1:]
    sentence = torch.where(begins, columns, 0).cummax(1).values
    key = per_document(sentence, rng)
    return reordered(windows, key * (per_document(first, rng) < share), vocabulary)


def rotation(windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator) -> Windows:
    """A share of the documents is rotated, so that each begins at a random token.

    >>> text = windows([[40, 41, 42, 2]], [[0, 0, 0, 0]])
    >>> outcomes(lambda rng: rotation(text, 1.0, VOCABULARY, rng), "tokens")
    tokens  40 41 42  2
    tokens  41 42 40  2
    tokens  42 40 41  2
    """
    first = document_starts(windows.tokens, windows.segments)
    length = sizes(first, ~ends(windows, vocabulary)).clamp(min=1)
    begin = (per_document(first, rng) * length).long() * (per_document(first, rng) < share)
    place = torch.arange(first.shape[1]) - first
    return reordered(windows, ((place - begin) % length).double() / length, vocabulary)


def spans(
    windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator, mean: float
) -> tuple[Tensor, Tensor]:
    """The cells that infilling hides, and the first cells of its spans: (B,W) bool each.

    The first round(share x n) of a document's tokens are cut into spans. Spans and kept tokens are then put
    in random order, and this order of hidden and kept cells is applied to the text.
    """
    ordinary = Ordinary.of(windows, vocabulary)
    count = (ordinary.size.double() * share).round().long()
    hidden = (ordinary.place < count) & ordinary.exists
    lengths = poisson_lengths(hidden.shape, mean, hidden.shape[1], rng)  # longer ones would be cut to fit
    begins = _cut(ordinary, hidden, count, lengths)
    head = torch.where(begins | ~hidden, torch.arange(hidden.shape[1]), 0).cummax(1).values
    order = (ordinary.document + per_document(head, rng)).argsort(dim=1, stable=True)
    return ordinary.in_row(hidden.gather(1, order)), ordinary.in_row(begins.gather(1, order))


def _cut(ordinary: Ordinary, hidden: Tensor, count: Tensor, lengths: Tensor) -> Tensor:
    """The first cells of spans, if a span at cell i has length lengths[b,i] and spans touch: (B,W) bool.

    All documents are followed at once, twice as many spans each time, since a loop over spans would be slow.
    """
    width = hidden.shape[1]
    target = torch.arange(width) + lengths
    target = torch.where(hidden & (target < ordinary.first + count), target, width)
    after = torch.cat((target, target.new_full((len(target), 1), width)), 1)
    reached = torch.zeros_like(after)
    reached[:, :width] = hidden & (ordinary.place == 0)
    for _ in range(int(count.max()).bit_length()):
        reached = reached.scatter_add(1, after, reached).clamp(max=1)
        after = after.gather(1, after)
    return reached[:, :width].bool()


def _insertions(
    windows: Windows, keep: Tensor, hide: Tensor, begins: Tensor, rng: torch.Generator, mean: float
) -> Tensor:
    """The kept cells before which a [MASK] is inserted: (B,W) bool."""
    first = document_starts(windows.tokens, windows.segments)
    none = math.exp(-mean)
    expected = sizes(first, begins) * none / (1 - none)
    insert = torch.rand(first.shape, generator=rng) * sizes(first, keep) < expected
    insert &= keep
    freed = (hide & ~begins).sum(1, keepdim=True)
    return insert & (insert.cumsum(1) <= freed)


def _with_masks(
    windows: Windows, begins: Tensor, keep: Tensor, insert: Tensor, vocabulary: Vocabulary
) -> Windows:
    """The kept cells, with [MASK] at those that begin a span, and a [MASK] before those in `insert`."""
    assert vocabulary.mask is not None
    assert windows.segments is not None
    width = keep.shape[1]
    place = keep.cumsum(1) + insert.cumsum(1) - 1
    of_cell, of_insert = torch.where(keep, place, width), torch.where(insert, place - 1, width)
    tokens = windows.tokens.new_full((len(keep), width + 1), vocabulary.pad)
    tokens.scatter_(1, of_cell, windows.tokens.masked_fill(begins, vocabulary.mask))
    tokens.scatter_(1, of_insert, vocabulary.mask)
    segments = windows.segments.new_full(tokens.shape, PADDING)
    segments.scatter_(1, of_cell, windows.segments).scatter_(1, of_insert, windows.segments)
    return Windows(tokens[:, :width], segments[:, :width])


def _single(windows: Windows, share: float, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    return uniform(windows.tokens, *traits(windows.tokens, windows.segments, vocabulary), rng, rate=share)
