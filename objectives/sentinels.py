"""One sentinel in place of each hidden span; the spans are the target (Raffel et al. 2020, T5)."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import PADDING
from archs.errors import UserError
from objectives.base import Vocabulary
from objectives.layouts import document_starts, pack_left


def sentinels(
    tokens: Tensor, segments: Tensor | None, hide: Tensor, vocabulary: Vocabulary
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Source, its segments, target, its segments, with one sentinel for each hidden run. Raffel et al. 2020.

    The sentinels are 6, 7, …:

    >>> text = torch.tensor([[40, 41, 42, 43, 44, 45, 2]])
    >>> source, _, target, _ = sentinels(text, None, hiding(41, 42, 44)(text), VOCABULARY)
    >>> show(source)
    40  6 43  7 45  2
    >>> show(target)
    6 41 42  7 44  2

    Rows are padded on the right with pad and segment -1 to the longest source (S) and target (T). A target
    cell has its document's segment, and eos has that of the row's last hidden token. A row in which nothing
    is hidden has an empty target. Raises UserError if a row has more runs than there are sentinels.
    """
    rows, width = tokens.shape
    if segments is None:
        segments = torch.zeros_like(tokens)
    goes_on = torch.zeros_like(hide)
    goes_on[:, 1:] = hide[:, :-1]
    goes_on &= document_starts(tokens, segments) < torch.arange(width)
    starts = hide & ~goes_on
    spans = starts.sum(1)
    if int(spans.max()) > len(vocabulary.sentinels):
        raise UserError(
            f"a row has {int(spans.max())} hidden spans but the tokenizer has {len(vocabulary.sentinels)} "
            "sentinels; lower the rate or the window, lengthen the spans, or add sentinels"
        )
    ids = torch.tensor(vocabulary.sentinels)
    so_far = starts.cumsum(1)
    marked = torch.where(starts, ids[(so_far - 1).clamp(min=0)], tokens)

    in_source = starts | (~hide & (segments >= 0))
    source_width = int(in_source.sum(1).max())
    source = pack_left(marked, in_source, source_width, vocabulary.pad)
    source_segments = pack_left(segments, in_source, source_width, PADDING)

    # Before a hidden token stand all earlier hidden tokens, and a sentinel for each span up to its own.
    length = hide.sum(1) + spans
    target_width = int(length.max()) + 1
    spare = target_width
    place = hide.cumsum(1) - 1 + so_far
    of_sentinel = torch.where(starts, place - 1, spare)
    of_token = torch.where(hide, place, spare)
    target = tokens.new_full((rows, target_width + 1), vocabulary.pad)
    target.scatter_(1, of_sentinel, marked).scatter_(1, of_token, tokens)
    target_segments = tokens.new_full((rows, target_width + 1), PADDING)
    target_segments.scatter_(1, of_sentinel, segments).scatter_(1, of_token, segments)
    end = torch.where(spans > 0, length, spare)[:, None]
    last = target_segments.gather(1, (end - 1).clamp(min=0))
    target.scatter_(1, end, vocabulary.eos)
    target_segments.scatter_(1, end, last)
    return source, source_segments, target[:, :target_width], target_segments[:, :target_width]
