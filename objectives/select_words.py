"""Selections of whole words: one by one, in n-grams, in geometric spans."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archs.errors import UserError
from objectives.select_parts import check_geometric, groups_until, number_words

MACBERT = (0.4, 0.3, 0.2, 0.1)


def whole_word(
    tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator, *, rate: float = 0.15
) -> Tensor:
    """Whole words in random order, at least one a row; the last one only if it brings the total nearer.

    BERT's whole-word masking. Even ids start words, so these are `40 41`, `42 43 45` and `46`:

    >>> text = cells([[40, 41, 42, 43, 45, 46]])
    >>> outcomes(lambda rng: whole_word(*text, rng, rate=0.5))
    0 0 1 1 1 0
    0 0 1 1 1 1
    1 1 0 0 0 0
    1 1 0 0 0 1
    """
    return groups_until(number_words(word_starts, special), special, rate, rng)


def ngrams(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    shares: Sequence[float] = MACBERT,
) -> Tensor:
    """N-grams of whole words. Cui et al. 2020 (MacBERT): 40, 30, 20 and 10% of one to four words.

    shares: of the n-grams, how many have one word, two, …; they sum to 1. `[1]` is `whole_word`, `[0, 0, 1]`
    hides trigrams alone. The row is cut into n-grams, shorter at a special token or the row's end; then they
    are hidden in random order as `whole_word` hides words. Any n words in a row are an n-gram: ERNIE-Gram's
    (Xiao et al. 2021) come from a lexicon, these do not. Raises UserError on other shares. Bigrams alone:

    >>> text = cells([[40, 41, 42, 44, 46]])
    >>> outcomes(lambda rng: ngrams(*text, rng, rate=0.6, shares=[0, 1]))
    0 0 0 1 1
    1 1 1 0 0
    """
    if not (shares and min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
        raise UserError(
            f"select 'ngrams': shares={list(shares)} are not shares of 1-grams, 2-grams, … that sum to 1; "
            f"MacBERT has {list(MACBERT)}"
        )
    return _grouped(torch.tensor(shares, dtype=torch.float64), word_starts, special, rate, rng)


def whole_word_spans(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    p: float = 0.2,
    longest: int = 10,
) -> Tensor:
    """Spans of a geometric number of whole words, at most `longest`. Joshi et al. 2020 (SpanBERT).

    Mean 3.8 words at the defaults. Otherwise as `ngrams` with these shares: spans may touch, none is
    truncated but at a special token or the row's end, and the last one is hidden only if it brings the total
    nearer. Raises UserError unless 0 < p < 1 and longest >= 1.

    >>> text = cells([[40, 41, 42, 44]])
    >>> outcomes(lambda rng: whole_word_spans(*text, rng, rate=0.5, longest=2))
    0 0 0 1
    0 0 1 1
    1 1 0 0
    1 1 0 1
    1 1 1 0
    """
    check_geometric("whole_word_spans", p, longest)
    shares = p * (1 - p) ** torch.arange(longest, dtype=torch.float64)
    return _grouped(shares / shares.sum(), word_starts, special, rate, rng)


def _grouped(
    shares: Tensor, word_starts: Tensor, special: Tensor, rate: float, rng: torch.Generator
) -> Tensor:
    """Hides groups of consecutive words; shares[n - 1] of the groups have n words."""
    word = number_words(word_starts, special)
    luck = torch.rand(word.shape, generator=rng, dtype=torch.float64)
    sizes = (torch.searchsorted(shares.cumsum(0), luck, right=True) + 1).clamp(max=len(shares))
    # Group n ends before word number sizes[0] + … + sizes[n]; what lies beyond the row falls off its end.
    ends = sizes.cumsum(1).clamp(max=word.shape[1])
    begins = torch.zeros(len(word), word.shape[1] + 1, dtype=torch.bool).scatter_(1, ends, True)
    first_piece = torch.ones_like(special)
    first_piece[:, 1:] = word[:, 1:] != word[:, :-1]
    return groups_until(number_words(first_piece & begins.gather(1, word), special), special, rate, rng)
