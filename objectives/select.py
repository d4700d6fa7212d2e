"""Selections: which tokens to hide.

Each function is `(tokens (B,W) int64, word_starts (B,W) bool, special (B,W) bool, rng, *, options) ->
(B,W) bool`, True = hidden. `special` covers padding too; a special token is never hidden. Documents end
with a special token, so a span that stops at specials stays within its document. A selection with a keyword
`entity` or `phrase` is given the number of each token's entity or phrase, see objectives.chunker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from objectives.functions import bind, row_seeds
from objectives.select_chunks import entities, phrases
from objectives.select_parts import budget, checked, choose
from objectives.select_spans import geometric_spans, poisson_spans, random_spans
from objectives.select_words import ngrams, whole_word, whole_word_spans

__all__ = [
    "entities",
    "geometric_spans",
    "ngrams",
    "phrases",
    "poisson_spans",
    "random_spans",
    "static",
    "uniform",
    "whole_word",
    "whole_word_spans",
]


def uniform(
    tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator, *, rate: float = 0.15
) -> Tensor:
    """Single tokens at random: exactly round(rate x maskable) a row, at least one. Devlin et al. 2019.

    >>> outcomes(lambda rng: uniform(*cells([[40, 41, 42, 2]]), rng, rate=0.67))
    0 1 1 0
    1 0 1 0
    1 1 0 0
    """
    return choose(~special, budget(special, rate), rng)


def static(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    of: str | Callable[..., Tensor] = "uniform",
    copies: int = 1,
    rate: float = 0.15,
    **options: Any,
) -> Tensor:
    """The same choice whenever the same row is seen again, as if it had been masked beforehand.

    BERT masks its text once, in ten copies. RoBERTa (Liu et al. 2019) calls that static masking, and draws
    new masks each time ("dynamic"). of: the selection, a shipped one by name or a function. copies: number of
    choices for a row, of which one is taken at random. options: of the selection. Replacements are drawn anew
    unless `replace` is static too. Objectives that cut rows anew each time, such as SOP, never see a row
    again. `entities` and `phrases` cannot be static.

    Raises UserError for an unknown selection or option, and for copies < 1. In every batch, epoch and run:

    >>> outcomes(lambda rng: static(*cells([[40, 41, 42, 43]]), rng, rate=0.5))
    1 1 0 0
    """
    shipped = (uniform, whole_word, ngrams, whole_word_spans, random_spans, geometric_spans, poisson_spans)
    select = bind(of, shipped, {"rate": rate}, options, "select")
    rows = zip(tokens, word_starts, special, row_seeds((tokens,), copies, rng, "select"), strict=True)
    drawn = [
        checked(select, row[None], starts[None], never[None], torch.Generator().manual_seed(seed))
        for row, starts, never, seed in rows
    ]
    return torch.cat(drawn)
