"""Mode tokens: a token before each document tells the model which objective it is (Tay et al. 2023, UL2)."""

from __future__ import annotations

from dataclasses import replace

import torch

from archs.batch import PADDING, Batch, index_targets
from archs.errors import UserError
from objectives.base import Vocabulary, Windows
from objectives.layouts import document_starts
from objectives.widths import rounded

LARGEST_SHARE = 0.5  # of the sentinels that may be mode tokens: the first ones stay free for spans


def mode_token(vocabulary: Vocabulary, mode: int) -> int:
    """The token of mode 1, 2, …: the last sentinel, the last but one, …

    Raises UserError if there are too few.
    """
    most = int(len(vocabulary.sentinels) * LARGEST_SHARE)
    if not 1 <= mode <= most:
        raise UserError(
            f"mode={mode}: modes are marked by the tokenizer's last sentinels, and of its "
            f"{len(vocabulary.sentinels)} at most {most} may be; give 1 to {most}, or add sentinels"
        )
    return vocabulary.sentinels[-mode]


def marked(windows: Windows, token: int, vocabulary: Vocabulary) -> Windows:
    """The windows with `token` before each document. A row is that much wider, rounded up with padding.

    The token is a special token of its document, so it is never hidden.

    >>> text = windows([[40, 41, 42, 2]], [[0, 0, 1, 1]])
    >>> show(marked(text, mode_token(VOCABULARY, 1), VOCABULARY), "tokens", "segments")
    tokens    35 40 41 35 42  2  0  0
    segments   0  0  0  1  1  1 -1 -1
    """
    tokens = windows.tokens
    segments = torch.zeros_like(tokens) if windows.segments is None else windows.segments
    rows, width = tokens.shape
    begins = (document_starts(tokens, segments) == torch.arange(width)) & (segments >= 0)
    before = begins.cumsum(1)
    wider = rounded(width + int(before[:, -1].max()))
    if windows.segments is None:
        wider = width + 1
    place = torch.arange(width) + before
    mark = torch.where(begins, place - 1, wider)
    out = tokens.new_full((rows, wider + 1), vocabulary.pad).scatter_(1, place, tokens)
    out.scatter_(1, mark, torch.full_like(tokens, token))
    of = (
        segments.new_full((rows, wider + 1), PADDING).scatter_(1, place, segments).scatter_(1, mark, segments)
    )
    marks = windows.marks
    if marks is not None:
        marks = marks.new_zeros((rows, wider + 1)).scatter_(1, place, marks)[:, :wider]
    return replace(
        windows,
        tokens=out[:, :wider],
        segments=None if windows.segments is None else of[:, :wider],
        marks=marks,
    )


def unasked(batch: Batch, token: int) -> Batch:
    """The batch in which mode tokens are no targets: they are given, so nothing is learned from them."""
    weights = batch.weights.masked_fill(batch.targets == token, 0.0)
    totals = {**batch.totals, "tokens": float(weights.sum())}
    return replace(batch, weights=weights, totals=totals, target_index=index_targets(weights))
