"""The named entity or phrase of each token, as an annotator marked it, or by a rule.

Cells are tokens of a row (B,W). A word's head is its first cell.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from archs.errors import UserError
from objectives.base import Vocabulary, Windows
from objectives.marks import (
    ANNOTATED,
    BLANK,
    ENTITY,
    ENTITY_START,
    FUNCTION,
    NUMBER,
    PHRASE,
    PHRASE_START,
    UPPER,
)
from objectives.select_parts import number_words, traits

Kind = Literal["entity", "phrase"]
KINDS: tuple[Kind, ...] = ("entity", "phrase")
LONGEST = 4  # words of a phrase that the rule finds


def chunks_of(kind: Kind, windows: Windows, vocabulary: Vocabulary) -> Tensor:
    """The number of the chunk of each cell, from 0 in each row, -1 = none: (B,W) int64.

    If an annotator marked the text, these are its entities or phrases. Else a rule finds them by spelling:

        entity  a run of words that are numbers or begin with an upper-case letter, and are not among the
                most frequent words. A single such word that begins a sentence is no entity; before a name it
                is part of the name. In a script without case only numbers are entities; in German every noun
                is one
        phrase  a run of words between the most frequent words, punctuation and other symbols; a run of more
                than four words is cut into pieces of four

    In `He saw New York , where Mary lived in 1999`, where `He`, `where` and `in` are among the most frequent
    words, the entities are `New York`, `Mary` and `1999`, numbered `[-1 -1 0 0 -1 -1 1 -1 -1 2]`. The phrases
    are `saw New York`, `Mary lived` and `1999`. A chunk never crosses a document's border.

    Raises UserError for a vocabulary without kinds or sentence_ends, unless an annotator marked the text.
    """
    starts, special = traits(windows.tokens, windows.segments, vocabulary, windows.marks)
    marks = windows.marks
    if marks is not None and bool((marks & ANNOTATED).any()):
        inside, start = (ENTITY, ENTITY_START) if kind == "entity" else (PHRASE, PHRASE_START)
        return _numbered((marks & inside).bool() & ~special, (marks & start).bool())
    if vocabulary.kinds is None or vocabulary.sentence_ends is None:
        raise UserError(
            f"which words are {'entities' if kind == 'entity' else 'phrases'} is told by the tokenizer's "
            "pieces, and this vocabulary has no kinds or sentence_ends; make it with "
            "experiments.data.tokenizer.vocabulary.vocabulary, or give marks"
        )
    kinds = vocabulary.kinds[windows.tokens]
    blank = (kinds & BLANK).bool() | special
    if marks is None:  # by spelling alone, punctuation would belong to the word before it
        starts = starts | blank | _before(blank)
    heads = _heads(number_words(starts, special))
    single = heads & functional.pad(heads[:, 1:], (0, 1), value=True)
    content = heads & ~blank & ~((kinds & FUNCTION).bool() & single)
    if kind == "phrase":
        return _phrases(heads, content)
    begins = _sentence_begins(vocabulary.sentence_ends[windows.tokens] | special, blank)
    number = (kinds & NUMBER).bool()
    return _entities(heads, content & (number | (kinds & UPPER).bool()), begins & ~number)


def _phrases(heads: Tensor, content: Tensor) -> Tensor:
    """Numbers runs of words whose head is `content`, cut into pieces of LONGEST words."""
    inside = _throughout(content, heads)
    place = content.cumsum(1)
    first = torch.where(content & ~_before(inside), place, 0).cummax(1).values
    return _numbered(inside, content & ((place - first) % LONGEST == 0))


def _entities(heads: Tensor, named: Tensor, doubtful: Tensor) -> Tensor:
    """Numbers runs of words whose head is `named`, except single words that are `doubtful`."""
    inside = _throughout(named, heads)
    followed = functional.pad(inside, (0, 1)).gather(1, _next_head(heads))
    lone = named & doubtful & ~_before(inside) & ~followed
    return _numbered(inside & ~_throughout(lone, heads), torch.zeros_like(inside))


def _heads(word: Tensor) -> Tensor:
    return word != functional.pad(word[:, :-1], (1, 0), value=-1)


def _throughout(flags: Tensor, heads: Tensor) -> Tensor:
    """Copies the flag of each word's head to all cells of the word."""
    return flags.gather(1, torch.where(heads, torch.arange(heads.shape[1]), 0).cummax(1).values)


def _numbered(inside: Tensor, starts: Tensor) -> Tensor:
    """Numbers runs of `inside` cells; a start begins a new run."""
    begins = inside & (starts | ~_before(inside))
    return torch.where(inside, begins.cumsum(1) - 1, -1)


def _before(flags: Tensor) -> Tensor:
    """The flag of the cell to the left, False in the first."""
    return functional.pad(flags[:, :-1], (1, 0))


def _next_head(heads: Tensor) -> Tensor:
    """The column of the next word's head: (B,W); W if there is none."""
    width = heads.shape[1]
    later = torch.where(heads, torch.arange(width), width).flip(1).cummin(1).values.flip(1)
    return functional.pad(later[:, 1:], (0, 1), value=width)


def _sentence_begins(ends: Tensor, blank: Tensor) -> Tensor:
    """(B,W) bool: between the last word and this cell, a sentence or a document ended.

    False at the row's beginning, since windows are cut anywhere.
    """
    columns = torch.arange(ends.shape[1])
    end = torch.where(ends, columns, -1).cummax(1).values
    word = torch.where(blank, -1, columns).cummax(1).values
    return _before((end >= 0) & (end >= word))
