"""Texts as a model reads them: [cls] A [sep] B [sep], cut to its window, with a count of what was cut.

Axes: n texts, W tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archs.errors import UserError
from experiments.runs.run import Run
from experiments.tasks.kind import Example


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows of token ids. An item has `parts` neighbouring rows; `cut` items were too long for the window."""

    rows: list[list[int]]
    parts: int
    cut: int

    def __len__(self) -> int:
        return len(self.rows) // self.parts

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each item's longest row (n)."""
        each = np.array([len(row) for row in self.rows])
        return each.reshape(-1, self.parts).max(axis=1)

    def batch(self, items: Sequence[int] | np.ndarray, pad: int) -> tuple[Tensor, Tensor]:
        """tokens, segments (parts x items, W) of the given items; segment -1 = padding."""
        rows = [self.rows[item * self.parts + part] for item in items for part in range(self.parts)]
        return padded(rows, pad)


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """tokens, segments (n,W); segment -1 = padding."""
    width = max(len(row) for row in rows)
    tokens, segments = torch.full((len(rows), width), pad), torch.full((len(rows), width), -1)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = torch.tensor(row)
        segments[number, : len(row)] = 0
    return tokens, segments


def encoded(run: Run, examples: Sequence[Example], pair: str) -> Encoded:
    """Encodes the roles text and text_pair: "joined" in one row, or "apart" in two."""
    first = run.corpus.tokenizer.encode_batch([example["text"] for example in examples])
    seconds = [example.get("text_pair") for example in examples]
    if not examples or seconds[0] is None:
        if pair == "apart":
            raise UserError("pair=apart reads two texts apart, and this task's items have one; leave it out")
        return _framed(run, [[ids] for ids in first], 1)
    second = run.corpus.tokenizer.encode_batch([str(text) for text in seconds])
    if pair == "apart":
        return _framed(run, [[ids] for both in zip(first, second, strict=True) for ids in both], 2)
    return _framed(run, [list(both) for both in zip(first, second, strict=True)], 1)


def _framed(run: Run, rows: list[list[list[int]]], parts: int) -> Encoded:
    cls, sep = frame(run)
    framed, cut = [], []
    for texts in rows:
        room = run.recipe.size.length - 1 - len(texts)
        kept = fitted(texts, room)
        cut.append(kept != texts)
        framed.append([cls, *(token for text in kept for token in (*text, sep))])
    items = np.array(cut, dtype=bool).reshape(-1, parts).any(axis=1)
    return Encoded(framed, parts, int(items.sum()))


def frame(run: Run) -> tuple[int, int]:
    """The token before the first text and the token after each: cls and sep, or bos and eos without them."""
    words = run.corpus.vocabulary
    cls = words.bos if words.cls is None else words.cls
    return cls, words.eos if words.sep is None else words.sep


def fitted(texts: list[list[int]], room: int) -> list[list[int]]:
    """The texts, shortened to `room` tokens together: the longest loses its end first."""
    lengths = [len(text) for text in texts]
    while sum(lengths) > room:
        lengths[lengths.index(max(lengths))] -= 1
    return [text[:length] for text, length in zip(texts, lengths, strict=True)]
