"""Selections of whole words: single words, n-grams, and geometric spans."""

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
    """Whole words in random order, at least one a row; the last one only if it brings the total closer.

    BERT's whole-word masking. Even ids start words, so the words here are `40 41`, `42 43 45` and `46`:

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
    """N-grams of whole words. Cui et al. 2020 (MacBERT): 40, 30, 20 and 10% have one to four words.

    shares: the shares of n-grams with one word, two, …, which sum to 1. `[1]` is `whole_word`; `[0, 0, 1]`
    hides trigrams only. The row is cut into n-grams, shorter ones at a special token and at the row's end;
    they are then hidden in random order, as `whole_word` hides words. Any n consecutive words are an n-gram,
    while ERNIE-Gram's (Xiao et al. 2021) come from a lexicon. Raises UserError for other shares. With bigrams
    only:

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

    The mean is 3.8 words at the defaults. This is `ngrams` with geometric shares: spans may touch, they are
    truncated only at a special token or the row's end, and the last one is hidden only if it brings the total
    closer. Raises UserError unless 0 < p < 1 and longest >= 1.

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
    # Group n ends before word number sizes[0] + … + sizes[n]; ends beyond the row go to a spare column.
    ends = sizes.cumsum(1).clamp(max=word.shape[1])
    begins = torch.zeros(len(word), word.shape[1] + 1, dtype=torch.bool).scatter_(1, ends, True)
    first_piece = torch.ones_like(special)
    first_piece[:, 1:] = word[:, 1:] != word[:, :-1]
    return groups_until(number_words(first_piece & begins.gather(1, word), special), special, rate, rng)
