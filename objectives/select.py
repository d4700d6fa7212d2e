"""Which tokens to hide.

Each function is `(tokens (B,W) int64, word_starts (B,W) bool, special (B,W) bool, rng, *, options) ->
(B,W) bool`, True = hidden. `special` covers padding too; a special token is never hidden. Documents end
with a special token, so a span that stops at specials stays within its document.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.base import Vocabulary


def uniform(
    tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator, *, rate: float = 0.15
) -> Tensor:
    """Single tokens: exactly round(rate x maskable) a row, at least one. Devlin et al. 2019."""
    return choose(~special, budget(special, rate), rng)


def whole_word(
    tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator, *, rate: float = 0.15
) -> Tensor:
    """Whole words in random order, at least one a row; the last one only if it brings the total nearer.

    With rate 0.5, starts `[1 0 1 0 0 1]` hide three tokens of six, `[0 0 1 1 1 0]` or `[1 1 0 0 0 1]`.
    (BERT's whole-word masking.)
    """
    word = number_words(word_starts, special)
    lengths = torch.zeros_like(tokens).scatter_add_(1, word, (~special).long())
    order = torch.rand(tokens.shape, generator=rng).argsort(1)
    ordered = lengths.gather(1, order)
    end = ordered.cumsum(1)
    start = end - ordered
    taken = (start + end <= 2 * budget(special, rate)[:, None]) | (start == 0)
    return torch.zeros_like(special).scatter_(1, order, taken).gather(1, word) & ~special


def random_spans(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    mean: float = 3.0,
) -> Tensor:
    """Spans of mean length `mean`, at least one kept token between two. Raffel et al. 2020 (T5).

    round(rate x maskable) tokens are cut at random into round(that / mean) spans. What of a span lies
    behind a special token is not hidden, so packed rows hide slightly less.
    """
    count = budget(special, rate)
    kept = (~special).sum(1) - count
    number = torch.minimum(
        (count.double() / mean).round().long().clamp(min=1), torch.minimum(kept + 1, count)
    )
    slots = torch.arange(max(int(count.max()), 1))
    inside = slots < count[:, None]
    cuts = choose(inside & (slots > 0), (number - 1).clamp(min=0), rng)
    lengths = torch.zeros_like(cuts, dtype=torch.long).scatter_add_(1, cuts.cumsum(1), inside.long())
    return _lay(lengths, special, rng, apart=True)


def geometric_spans(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    p: float = 0.2,
    longest: int = 10,
) -> Tensor:
    """Spans whose lengths are geometric, at most `longest` (mean 3.8 at the defaults). Joshi et al. 2020.

    Lengths are drawn until they reach exactly round(rate x maskable), the last one truncated. Spans may
    touch but not overlap; what lies behind a special token is not hidden. Unlike SpanBERT's, spans count
    pieces and may start within a word.
    """
    count = budget(special, rate)
    luck = torch.rand(len(tokens), max(int(count.max()), 1), generator=rng)
    reached = 1 - (1 - p) ** longest
    drawn = (torch.log1p(-luck * reached) / math.log(1 - p)).floor().long() + 1
    ends = drawn.clamp(max=longest).cumsum(1).clamp(max=count[:, None])
    lengths = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))
    # The truncated span must not always be the row's last.
    shuffled = torch.rand(lengths.shape, generator=rng).masked_fill(lengths == 0, 2.0).argsort(1)
    return _lay(lengths.gather(1, shuffled), special, rng, apart=False)


def traits(tokens: Tensor, segments: Tensor | None, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """`word_starts` and `special`, (B,W) bool each, as the functions above want them."""
    special = vocabulary.special[tokens]
    if segments is not None:
        special = special | (segments < 0)
    return vocabulary.word_starts[tokens], special


def number_words(word_starts: Tensor, special: Tensor) -> Tensor:
    """Which word of its row each cell belongs to, from 0: (B,W) int64.

    A word is a start and the pieces behind it, up to the next start or special token; a special token is a
    word of its own. Starts `[1 0 1 0 0 1]` give `[0 0 1 1 1 2]`.
    """
    after_special = torch.ones_like(special)
    after_special[:, 1:] = special[:, :-1]
    return (word_starts | special | after_special).cumsum(1) - 1


def budget(special: Tensor, rate: float) -> Tensor:
    """How many tokens of each row to hide (B): round(rate x maskable), at least 1 where any is."""
    maskable = (~special).sum(1)
    return torch.minimum((maskable.double() * rate).round().long().clamp(min=1), maskable)


def choose(allowed: Tensor, count: Tensor, rng: torch.Generator) -> Tensor:
    """Exactly count[b] of the allowed cells of row b, at random: allowed (B,W), count (B) -> (B,W) bool."""
    order = torch.rand(allowed.shape, generator=rng).masked_fill(~allowed, 2.0).argsort(1)
    first = torch.arange(allowed.shape[1]) < count[:, None]
    return torch.zeros_like(allowed).scatter_(1, order, first)


def _lay(lengths: Tensor, special: Tensor, rng: torch.Generator, *, apart: bool) -> Tensor:
    """Places spans of the given lengths (B,N; 0 = no more spans) at random, in their order: (B,W) bool.

    Works on the row's maskable tokens alone and then puts the specials back. Kept tokens and spans are
    arranged at random; `apart` allows only one span in each of the places between kept tokens.
    """
    maskable = ~special
    number = (lengths > 0).sum(1)
    kept = maskable.sum(1) - lengths.sum(1)
    places = torch.arange(special.shape[1] + 1)
    chosen = choose(places < (kept + (1 if apart else number))[:, None], number, rng).long()
    so_far = chosen.cumsum(1)
    length = lengths.gather(1, (so_far - 1).clamp(min=0)) * chosen
    kept_before = places if apart else places - (so_far - chosen)
    end = kept_before + length.cumsum(1)
    begins = torch.zeros(len(special), len(places), dtype=torch.long)
    begins.scatter_add_(1, (end - length).clamp(max=len(places) - 1), chosen)
    edges = begins.scatter_add(1, end.clamp(max=len(places) - 1), -chosen)
    column = (maskable.cumsum(1) - 1).clamp(min=0)
    first = begins.gather(1, column).bool() & maskable
    hide = edges.cumsum(1).gather(1, column).bool() & maskable
    boundaries = special.cumsum(1)
    at_first = torch.where(first, boundaries, 0).cummax(1).values
    return hide & (boundaries == at_first)
