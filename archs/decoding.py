"""How tokens are chosen, and what from. No torch here: the command line reads this before it loads torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from archs.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Decoding:
    """How `Family.generate` chooses tokens. Raises UserError for values that mean nothing.

    temperature       0 takes the likeliest token (greedy), above 0 samples
    top_k             samples among the k likeliest (Fan et al. 2018)
    top_p             samples among the fewest likeliest that have p together (Holtzman et al. 2020)
    beams             width of the beam search; 1 = greedy or sampled
    length_penalty    of two beams the better has more nats / tokens ** length_penalty
    stop              tokens that end a text; they are kept
    forbid (V) bool   tokens that are never written
    fill, rounds      an encoder-AE's order of filling its blanks, and how often it goes over them
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    beams: int = 1
    length_penalty: float = 1.0
    stop: tuple[int, ...] = ()
    forbid: Tensor | None = None
    fill: Literal["mask_predict", "left_to_right"] = "mask_predict"
    rounds: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature={self.temperature} is not a number from 0 on; 0 is greedy")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k={self.top_k} leaves no token; give 1 or more, or leave it out")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p} is not above 0 and at most 1; give a share such as 0.9")
        if self.temperature == 0 and not (self.top_k is None and self.top_p is None):
            raise UserError("top_k and top_p are for sampling; set a temperature above 0 too, such as 1")
        if self.beams < 1:
            raise UserError(f"beams={self.beams} is no width; give 1 or more")
        if self.beams > 1 and self.temperature > 0:
            raise UserError(
                f"beams={self.beams} with temperature={self.temperature}: beam search does not sample; "
                "set one of the two"
            )
        if not math.isfinite(self.length_penalty):
            raise UserError(f"length_penalty={self.length_penalty} is not a finite number")
        if self.beams == 1 and self.length_penalty != 1:
            raise UserError(
                f"length_penalty={self.length_penalty} compares beams; set beams above 1 too, such as 4"
            )
        if self.fill not in ("mask_predict", "left_to_right"):
            raise UserError(f"fill={self.fill} is unknown; choose one of: mask_predict, left_to_right")
        if self.rounds < 1:
            raise UserError(f"rounds={self.rounds} fills nothing; give 1 or more")


GREEDY = Decoding()


class Steps(Protocol):
    """A batch being written from left to right: what `Family.steps` gives and a search drives.

    room (B): how many tokens each row can take; None = as many as were asked for.
    """

    room: Tensor | None

    def first(self) -> Tensor:
        """Reads the prompts: logits (B,V) of the first token."""
        ...

    def next(self, tokens: Tensor) -> Tensor:
        """Writes tokens (B): logits (B,V) of those after them."""
        ...

    def widen(self, times: int) -> None:
        """After `first`: each row becomes `times` neighbouring ones, the beams of one prompt."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Row i goes on from what rows[i] (B) has written, a beam of the same prompt."""
        ...
