"""Helpers of the examples in docstrings. To try an example: `from objectives.examples import *`.

A vocabulary of a hundred ids. 0 pad, 1 bos, 2 eos, 3 mask, 4 cls, 5 sep; 6..35 are sentinels, 36..99 ordinary
tokens, of which even ones start a word and 99 ends a sentence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Vocabulary, Windows
from objectives.replace import mask_only
from objectives.select_parts import traits

__all__ = ["VOCABULARY", "cells", "hiding", "mask_only", "outcomes", "seeded", "show", "torch", "windows"]

PAD, BOS, EOS, MASK, CLS, SEP = range(6)
SENTINELS = tuple(range(6, 36))
WORDS = 36  # the first ordinary token

VOCABULARY = Vocabulary(
    size=100,
    word_starts=torch.arange(100) % 2 == 0,
    special=torch.arange(100) < WORDS,
    pad=PAD,
    bos=BOS,
    eos=EOS,
    mask=MASK,
    cls=CLS,
    sep=SEP,
    sentinels=SENTINELS,
    sentence_ends=torch.arange(100) == 99,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(rows: list[list[int]], segments: list[list[int]] | None = None) -> Windows:
    return Windows(torch.tensor(rows), None if segments is None else torch.tensor(segments))


def cells(rows: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of a selection for these rows: tokens, word_starts, special."""
    tokens = torch.tensor(rows)
    return tokens, *traits(tokens, None, VOCABULARY)


def hiding(*hidden: int) -> Callable[..., Tensor]:
    """A selection that hides all occurrences of these tokens."""
    return lambda tokens, *_: torch.isin(tokens, torch.tensor(hidden))


def show(result: Tensor | Windows | Batch, *names: str) -> None:
    """Prints the rows of a tensor, or of the fields with these names."""
    print(_table(result, names))


def outcomes(draw: Callable[[torch.Generator], Tensor | Windows | Batch], *names: str) -> None:
    """Prints all results of `draw` for a hundred seeds, each once."""
    print("\n".join(sorted({_table(draw(seeded(seed)), names) for seed in range(100)})))


def _table(result: Tensor | Windows | Batch, names: tuple[str, ...]) -> str:
    """A table with a line for each row of each field; the field's name stands before its first row."""
    if isinstance(result, Tensor):
        fields = {"": result}
    else:
        tensors = dict(result.tensors()) if isinstance(result, Batch) else vars(result)
        fields = {name: tensors[name] for name in names}
    rows = {
        name: [[f"{cell:g}" for cell in row] for row in values.reshape(len(values), -1).tolist()]
        for name, values in fields.items()
    }
    widest = max(len(cell) for each in rows.values() for row in each for cell in row)
    lines = [
        f"{'' if number else name:<{max(map(len, rows))}}  " + " ".join(f"{cell:>{widest}}" for cell in row)
        for name, each in rows.items()
        for number, row in enumerate(each)
    ]
    return "\n".join(line if names else line.strip() for line in lines)
