"""Selections of spans of pieces: T5's, BART's, and SpanBERT's without whole words."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.select_parts import budget, check_geometric, check_mean, choose, lay, poisson_lengths


def random_spans(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    mean: float = 3.0,
) -> Tensor:
    """Spans of mean length `mean`, with at least one kept token between two. Raffel et al. 2020 (T5).

    round(rate x maskable) tokens are cut at random into round(that / mean) spans. The part of a span behind a
    special token is not hidden, so packed rows hide slightly fewer tokens. Raises UserError if `mean` is
    below 1.

    >>> text = cells([[40, 41, 42, 43, 44, 45]])
    >>> outcomes(lambda rng: random_spans(*text, rng, rate=0.5, mean=3.0))
    0 0 0 1 1 1
    0 0 1 1 1 0
    0 1 1 1 0 0
    1 1 1 0 0 0
    """
    check_mean("random_spans", mean, least=1.0)
    count = budget(special, rate)
    kept = (~special).sum(1) - count
    number = torch.minimum(
        (count.double() / mean).round().long().clamp(min=1), torch.minimum(kept + 1, count)
    )
    slots = torch.arange(max(int(count.max()), 1))
    inside = slots < count[:, None]
    cuts = choose(inside & (slots > 0), (number - 1).clamp(min=0), rng)
    lengths = torch.zeros_like(cuts, dtype=torch.long).scatter_add_(1, cuts.cumsum(1), inside.long())
    return lay(lengths, special, rng, apart=True)


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

    Lengths are drawn until they sum to exactly round(rate x maskable), the last one truncated. Spans may
    touch but not overlap; the part of a span behind a special token is not hidden. Unlike SpanBERT's, spans
    count pieces and may start within a word; `whole_word_spans` counts words. Raises UserError unless
    0 < p < 1 and longest >= 1.

    >>> text = cells([[40, 41, 42, 43, 44, 45, 46, 47, 48, 49]])
    >>> show(geometric_spans(*text, seeded(10), rate=0.5))
    0 1 1 1 0 0 0 0 1 1
    """
    check_geometric("geometric_spans", p, longest)
    count = budget(special, rate)
    luck = torch.rand(len(tokens), max(int(count.max()), 1), generator=rng)
    reached = 1 - (1 - p) ** longest
    drawn = (torch.log1p(-luck * reached) / math.log(1 - p)).floor().long() + 1
    return _spans_of(drawn.clamp(max=longest), count, special, rng)


def poisson_spans(
    tokens: Tensor,
    word_starts: Tensor,
    special: Tensor,
    rng: torch.Generator,
    *,
    rate: float = 0.15,
    mean: float = 3.0,
) -> Tensor:
    """Spans whose lengths are Poisson, at least 1. Lewis et al. 2020 (BART; there lambda 3 and rate 0.3).

    mean: lambda. A selection cannot have spans of length 0, so lengths are conditioned on not being 0: their
    mean is lambda / (1 - exp(-lambda)), 3.16 for 3. BART's insertion of a mask at a span of length 0 is a
    noise (objectives.noise.infilling), not a selection. Lengths are drawn until they sum to exactly
    round(rate x maskable), the last one truncated. Spans may touch; the part of a span behind a special token
    is not hidden. Raises UserError unless mean is above 0. With spans so long that one suffices:

    >>> text = cells([[40, 41, 42, 43, 44, 45]])
    >>> outcomes(lambda rng: poisson_spans(*text, rng, rate=0.5, mean=100.0))
    0 0 0 1 1 1
    0 0 1 1 1 0
    0 1 1 1 0 0
    1 1 1 0 0 0
    """
    check_mean("poisson_spans", mean, least=0.0)
    count = budget(special, rate)
    longest = max(int(count.max()), 1)
    # Longer lengths would be truncated to the row's count.
    drawn = poisson_lengths((len(tokens), longest), mean, longest, rng)
    return _spans_of(drawn, count, special, rng)


def _spans_of(drawn: Tensor, count: Tensor, special: Tensor, rng: torch.Generator) -> Tensor:
    """Spans at random places: the first drawn lengths (B,N) that sum to count[b], the last one truncated."""
    ends = drawn.cumsum(1).clamp(max=count[:, None])
    lengths = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))
    # Shuffled, so that the truncated span is not always the last of the row.
    shuffled = torch.rand(lengths.shape, generator=rng).masked_fill(lengths == 0, 2.0).argsort(1)
    return lay(lengths.gather(1, shuffled), special, rng, apart=False)
