"""The documents of a row: their ordinary tokens, their sizes, and reordering of their cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.base import Vocabulary, Windows
from objectives.layouts import document_starts, pack_left
from objectives.select_parts import traits


@dataclass(frozen=True, eq=False)
class Ordinary:
    """The tokens of a row that are not special, packed to the left: (B,W) each.

    document int64: the column of the row at which the token's document starts; W behind the last token.
    first int64: the packed column of its document's first token. place int64: its place in the document,
    from 0. size int64: the number of such tokens in its document. cells bool: the cells of the row that hold
    these tokens.
    """

    document: Tensor
    first: Tensor
    place: Tensor
    size: Tensor
    cells: Tensor

    @classmethod
    def of(cls, windows: Windows, vocabulary: Vocabulary) -> Ordinary:
        tokens, segments = windows.tokens, windows.segments
        _, special = traits(tokens, segments, vocabulary)
        width = tokens.shape[1]
        document = pack_left(document_starts(tokens, segments), ~special, width, width)
        first = document_starts(document, document)
        return cls(document, first, torch.arange(width) - first, sizes(first), ~special)

    @property
    def exists(self) -> Tensor:
        """(B,W) bool: False behind the row's last token."""
        return self.document < self.document.shape[1]

    def in_row(self, flags: Tensor) -> Tensor:
        """flags (B,W) of the packed tokens -> (B,W) of the row's cells, False at special tokens."""
        return flags.gather(1, (self.cells.cumsum(1) - 1).clamp(min=0)) & self.cells


def sizes(first: Tensor, counted: Tensor | None = None) -> Tensor:
    """The number of cells in each cell's document: (B,W). counted (B,W) bool: count only these cells.

    first (B,W): a column of the document, the same for all its cells.
    """
    ones = torch.ones_like(first) if counted is None else counted.long()
    return torch.zeros_like(first).scatter_add_(1, first, ones).gather(1, first)


def above_lowest(rank: Tensor, first: Tensor) -> Tensor:
    """(B,W) bool: a permuted LM's query row sees some token. False at the lowest rank of each document.

    rank (B,W), 0 = context; first (B,W): the column at which each cell's document starts.
    """
    lowest = torch.zeros_like(rank).scatter_reduce_(1, first, rank, "amin", include_self=False)
    return rank > lowest.gather(1, first)


def per_document(first: Tensor, rng: torch.Generator) -> Tensor:
    """A uniform number in [0, 1) for each document, the same in all its cells: (B,W) float64."""
    return torch.rand(first.shape, generator=rng, dtype=torch.float64).gather(1, first)


def ends(windows: Windows, vocabulary: Vocabulary) -> Tensor:
    """(B,W) bool: the cell is the last of its document and holds a special token."""
    last = torch.ones_like(windows.tokens, dtype=torch.bool)
    if windows.segments is None:
        last[:, :-1] = False
    else:
        last[:, :-1] = windows.segments[:, 1:] != windows.segments[:, :-1]
    return last & vocabulary.special[windows.tokens]


def reordered(windows: Windows, key: Tensor, vocabulary: Vocabulary) -> Windows:
    """Sorts each document's tokens by key (B,W) in [0, 1), stably; a special token at its end stays there.

    Tokens `a b c .` with keys .7 .2 .5 .1 become `b c a .`, if `.` is special.
    """
    first = document_starts(windows.tokens, windows.segments)
    key = torch.where(ends(windows, vocabulary), 0.75, key.double() / 2)
    order = (first + key).argsort(dim=1, stable=True)
    return Windows(windows.tokens.gather(1, order), windows.segments)
