"""Texts split into words, as a model reads them: [cls] words [sep], and the row at which each word is read.

Axes: n items, W tokens of the longest, K words of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archs.families.family import Family
from experiments.evaluation.encoding import frame, padded
from experiments.runs.run import Run

OUTSIDE = "O"  # the predicted tag of a word that the model does not read
UNREAD = -1  # in place of the row of a word that the model does not read


@dataclass(frozen=True, eq=False)
class Words:
    """One row of token ids for each item, and for each of its words the row of states to read, or UNREAD."""

    tokens: list[list[int]]
    rows: list[list[int]]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each item (n)."""
        return np.array([len(each) for each in self.tokens])

    @property
    def cut(self) -> int:
        """The number of items with a word that is not read."""
        return sum(UNREAD in each for each in self.rows)

    def batch(self, items: Sequence[int] | np.ndarray, pad: int) -> tuple[Tensor, Tensor, Tensor]:
        """tokens, segments (items,W), -1 = padding, and rows (items,K), UNREAD where there is no word."""
        tokens, segments = padded([self.tokens[item] for item in items], pad)
        rows = torch.full((len(items), max(len(self.rows[item]) for item in items)), UNREAD)
        for number, item in enumerate(items):
            rows[number, : len(self.rows[item])] = torch.tensor(self.rows[item])
        return tokens, segments, rows


def encoded_words(run: Run, sentences: Sequence[Sequence[str]]) -> Words:
    """Tokenises each word alone, with a space before it, so that a word has the same pieces anywhere."""
    cls, sep = frame(run)
    spelled = run.corpus.tokenizer.encode_batch([f" {word}" for words in sentences for word in words])
    tokens, rows, start = [], [], 0
    for words in sentences:
        pieces, start = spelled[start : start + len(words)], start + len(words)
        read_at = word_rows(run.family, [len(each) for each in pieces], run.recipe.size.length - 2)
        read = [each for each, row in zip(pieces, read_at, strict=True) if row != UNREAD]
        tokens.append([cls, *(token for each in read for token in each), sep])
        rows.append(read_at)
    return Words(tokens, rows)


def word_rows(family: Family, lengths: Sequence[int], room: int) -> list[int]:
    """The row of states (of T) at which a family reads each word of [cls] words [sep], or UNREAD.

    lengths: the number of pieces of each word; room: how many pieces the window holds. A word is read whole
    or not at all, so that all families read the same words. No word is read after the first that does not
    fit. A word that the tokenizer turns into no piece is UNREAD too.
    """
    rows, end = [], 0
    for length in lengths:
        end += length
        read = length > 0 and end <= room
        rows.append((end if reads_left_only(family) else end - length + 1) if read else UNREAD)
    return rows


def reads_left_only(family: Family) -> bool:
    """Whether a row sees nothing to its right.

    Such a family reads a word at its last piece, since at the first piece it has not seen the word. The
    others read it at the first piece (Devlin et al. 2019). The rows of an encoder-decoder's decoder look left
    only too, but each receives the whole text from the encoder: row t would write token t (Lewis et al.
    2020).
    """
    return family.layout == "concatenated" and not family.both_ways
