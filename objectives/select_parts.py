"""What selections are made of: words, budgets, random places for spans; and how one is called."""

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
    """`word_starts` and `special`, (B,W) bool each, as selections want them.

    marks (B,W): see Windows; where there are any, they say where words start, else the pieces' spelling.
    """
    special = vocabulary.special[tokens]
    if segments is not None:
        special = special | (segments < 0)
    return vocabulary.word_starts[tokens] if marks is None else (marks & WORD).bool(), special


def checked(
    select: Select, tokens: Tensor, word_starts: Tensor, special: Tensor, rng: torch.Generator
) -> Tensor:
    """What `select` hides. Raises UserError unless that is (B,W) bool and spares the special tokens."""
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


def groups_until(
    group: Tensor, special: Tensor, rate: float, rng: torch.Generator, later: Tensor | None = None
) -> Tensor:
    """Hides whole groups in random order until the rate is reached: (B,W) bool.

    group (B,W): which group each cell belongs to, numbered from 0 in each row; later (B,W) bool, the same in
    all cells of a group: not before all other groups. At least one group a row; the last one only if it
    brings the total nearer.
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
    """Exactly count[b] of the allowed cells of row b, at random: allowed (B,W), count (B) -> (B,W) bool."""
    order = torch.rand(allowed.shape, generator=rng).masked_fill(~allowed, 2.0).argsort(1)
    first = torch.arange(allowed.shape[1]) < count[:, None]
    return torch.zeros_like(allowed).scatter_(1, order, first)


def lay(lengths: Tensor, special: Tensor, rng: torch.Generator, *, apart: bool) -> Tensor:
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


def poisson_lengths(shape: tuple[int, ...], mean: float, longest: int, rng: torch.Generator) -> Tensor:
    """Poisson draws given that they are not 0, int64 of this shape; those above `longest` are `longest`."""
    lengths = torch.arange(1, longest + 1, dtype=torch.float64)
    shares = (lengths * math.log(mean) - torch.lgamma(lengths + 1) - mean).exp() / -math.expm1(-mean)
    luck = torch.rand(shape, generator=rng, dtype=torch.float64)
    return (torch.searchsorted(shares.cumsum(0), luck) + 1).clamp(max=longest)


def check_mean(who: str, mean: float, least: float) -> None:
    """Raises UserError unless a mean length is a finite number above 0 and at least `least`."""
    if not max(least, 0.0) <= mean < float("inf") or mean == 0:
        allowed = f"at least {least:g}" if least else "above 0"
        raise UserError(f"select '{who}': mean={mean} is not {allowed}; T5 and BART have 3")


def check_geometric(who: str, p: float, longest: int) -> None:
    """Raises UserError unless lengths can be drawn: 0 < p < 1, longest >= 1."""
    if not 0 < p < 1:
        raise UserError(f"select '{who}': p={p} is not between 0 and 1; SpanBERT has 0.2, a mean of 1/p")
    if longest < 1:
        raise UserError(f"select '{who}': longest={longest} is below 1, the shortest span; SpanBERT has 10")
