"""Selections of whole named entities and phrases (Sun et al. 2019, ERNIE, arXiv:1904.09223)."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.errors import UserError
from objectives.select_parts import groups_until, number_words


def entities(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    entity: Tensor | None = None,
) -> Tensor:
    """Whole named entities in random order, at least one a row; then whole words, if entities are too few.

    entity (B,W) int64: number of each cell's entity, -1 = none, by `objectives.chunker.chunks_of`; MLM gives
    it to a selection with a parameter of that name. The last chunk is hidden only if that brings the total
    closer to the rate. This is ERNIE's third stage. ERNIE's entities come from a lexicon and an analyser; use
    data.annotator for the same. Raises UserError without `entity`.

    >>> text, entity = cells([[40, 42, 43, 44, 46]]), torch.tensor([[-1, 0, 0, -1, -1]])
    >>> outcomes(lambda rng: entities(*text, rng, rate=0.4, entity=entity))
    0 1 1 0 0
    >>> outcomes(lambda rng: entities(*text, rng, rate=0.6, entity=entity))
    0 1 1 0 1
    0 1 1 1 0
    1 1 1 0 0
    """
    return _chunks_first("entities", "entity", entity, word_starts, special, rate, rng)


def phrases(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    phrase: Tensor | None = None,
) -> Tensor:
    """Whole phrases, as `entities` hides entities: ERNIE's second stage.

    >>> text, phrase = cells([[40, 42, 43, 44, 46]]), torch.tensor([[-1, 0, 0, 1, 1]])
    >>> outcomes(lambda rng: phrases(*text, rng, rate=0.4, phrase=phrase))
    0 0 0 1 1
    0 1 1 0 0
    """
    return _chunks_first("phrases", "phrase", phrase, word_starts, special, rate, rng)


def _chunks_first(
    who: str,
    kind: str,
    chunk: Tensor | None,
    word_starts: Tensor,
    special: Tensor,
    rate: float,
    rng: torch.Generator,
) -> Tensor:
    """Hides chunks in random order, and then words, or parts of words, outside them."""
    if chunk is None:
        raise UserError(
            f"select '{who}' was given no '{kind}', the chunk of each token; use it as an MLM's select, or "
            f"pass {kind}=chunks_of('{kind}', windows, vocabulary)"
        )
    word = number_words(word_starts, special)
    begins = torch.zeros_like(special)
    begins[:, 1:] = (chunk[:, 1:] != chunk[:, :-1]) | ((chunk < 0)[:, 1:] & (word[:, 1:] != word[:, :-1]))
    return groups_until(number_words(begins, special), special, rate, rng, later=chunk < 0)
