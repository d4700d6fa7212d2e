"""The parts of selections: word numbers, budgets, random places for spans, and checks of results."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from archs.errors import UserError
from objectives.base import Select, Vocabulary
from objectives.functions import named
from objectives.marks import WORD


def traits(
    tokens: Tensor, segments: Tensor | None, vocabulary: Vocabulary, marks: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`word_starts` and `special`, (B,W) bool each, the arguments of selections.

    marks (B,W): see Windows. If given, they tell where words start; else the spelling of pieces does.
    """
    special = vocabulary.special[tokens]
    if segments is not None:
        special = special | (segments < 0)
    return vocabulary.word_starts[tokens] if marks is None else (marks & WORD).bool(), special


def checked(
    select: Select, tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator
) -> Tensor:
    """The result of `select`. Raises UserError unless it is (B,W) bool and hides no special token."""
    hide = select(tokens, word_starts, special, rng)
    who = f"select '{named(select)}'"
    if not isinstance(hide, Tensor):
        raise UserError(f"{who} returned {type(hide).__name__}, no tensor; return (B,W) bool, True = hidden")
    if hide.dtype != torch.bool or hide.shape != tokens.shape:
        raise UserError(
            f"{who} returned {tuple(hide.shape)} {str(hide.dtype).removeprefix('torch.')}; return "
            f"{tuple(tokens.shape)} bool, like its tokens, True = hidden"
        )
    if bool((hide & special).any()):
        raise UserError(
            f"{who} hides {int((hide & special).sum())} special tokens or cells of padding; return "
            "hide & ~special"
        )
    return hide


def number_words(word_starts: Tensor, special: Tensor) -> Tensor:
    """The number of each cell's word in its row, from 0: (B,W) int64.

    A word is a start and the pieces after it, up to the next start or special token. A special token is a
    word by itself. Starts `[1 0 1 0 0 1]` give `[0 0 1 1 1 2]`.
    """
    after_special = torch.ones_like(special)
    after_special[:, 1:] = special[:, :-1]
    return (word_starts | special | after_special).cumsum(1) - 1


def budget(special: Tensor, rate: float) -> Tensor:
    """The number of tokens to hide in each row (B): round(rate x maskable), at least 1 if any is maskable."""
    maskable = (~special).sum(1)
    return torch.minimum((maskable.double() * rate).round().long().clamp(min=1), maskable)


def groups_until(
    group: Tensor, special: Tensor, rate: float, rng: torch.Generator, later: Tensor | None = None
) -> Tensor:
    """Hides whole groups in random order until the rate is reached: (B,W) bool.

    group (B,W): number of each cell's group, from 0 in each row. later (B,W) bool, the same in all cells of a
    group: take this group only after all others. At least one group of a row is hidden; the last one only if
    it brings the total closer to the rate.
    """
    lengths = torch.zeros_like(group).scatter_add_(1, group, (~special).long())
    turn = torch.rand(group.shape, generator=rng)
    if later is not None:
        turn = turn + torch.zeros_like(turn).scatter_(1, group, later.float())
    order = turn.argsort(1)
    ordered = lengths.gather(1, order)
    end = ordered.cumsum(1)
    start = end - ordered
    taken = (start + end <= 2 * budget(special, rate)[:, None]) | (start == 0)
    return torch.zeros_like(special).scatter_(1, order, taken).gather(1, group) & ~special


def choose(allowed: Tensor, count: Tensor, rng: torch.Generator) -> Tensor:
    """Chooses exactly count[b] allowed cells of row b at random: allowed (B,W), count (B) -> (B,W) bool."""
    order = torch.rand(allowed.shape, generator=rng).masked_fill(~allowed, 2.0).argsort(1)
    first = torch.arange(allowed.shape[1]) < count[:, None]
    return torch.zeros_like(allowed).scatter_(1, order, first)


def lay(lengths: Tensor, special: Tensor, rng: torch.Generator, *, apart: bool) -> Tensor:
    """Places spans of the given lengths (B,N; 0 = no span) at random, in their order: (B,W) bool.

    Spans are placed among the row's maskable tokens; special tokens are then put back. Kept tokens and spans
    are arranged at random. apart: at least one kept token stands between two spans.
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


def poisson_lengths(shape: tuple[int, ...], mean: float, longest: int, rng: torch.Generator) -> Tensor:
    """Poisson draws conditioned on not being 0, int64 of this shape, with those above `longest` cut to it."""
    lengths = torch.arange(1, longest + 1, dtype=torch.float64)
    shares = (lengths * math.log(mean) - torch.lgamma(lengths + 1) - mean).exp() / -math.expm1(-mean)
    luck = torch.rand(shape, generator=rng, dtype=torch.float64)
    return (torch.searchsorted(shares.cumsum(0), luck) + 1).clamp(max=longest)


def check_mean(who: str, mean: float, least: float) -> None:
    """Raises UserError unless the mean length is a finite number above 0 and at least `least`."""
    if not max(least, 0.0) <= mean < float("inf") or mean == 0:
        allowed = f"at least {least:g}" if least else "above 0"
        raise UserError(f"select '{who}': mean={mean} is not {allowed}; T5 and BART have 3")


def check_geometric(who: str, p: float, longest: int) -> None:
    """Raises UserError unless lengths can be drawn: 0 < p < 1, longest >= 1."""
    if not 0 < p < 1:
        raise UserError(f"select '{who}': p={p} is not between 0 and 1; SpanBERT has 0.2, a mean of 1/p")
    if longest < 1:
        raise UserError(f"select '{who}': longest={longest} is below 1, the shortest span; SpanBERT has 10")
