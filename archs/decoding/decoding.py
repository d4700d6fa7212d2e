"""Options of decoding, and the steps that a search drives.

This file does not load torch, since the command line reads it before torch is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, Protocol

from archs.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Limits of the options. Beyond them numbers overflow, memory runs out, or the text is meaningless.
TEMPERATURES = (1e-6, 1e6)
SMALLEST_SHARE = 1e-6  # top_p
STEEPEST = 5  # length_penalty: LONGEST ** 5 times a text's nats still fits float32
WIDEST = 1000  # beams
LONGEST = 100_000  # tokens to write


@dataclass(frozen=True, eq=False)
class Decoding:
    """How `Family.generate` chooses tokens. Raises UserError for impossible values.

    temperature       0 takes the likeliest token (greedy), above 0 samples
    top_k             samples among the k likeliest (Fan et al. 2018)
    top_p             samples among the fewest likeliest that have p together (Holtzman et al. 2020)
    beams             width of the beam search; 1 = greedy or sampled
    length_penalty    beams are ranked by log-probability / tokens ** length_penalty
    stop              tokens that end a text; they are kept
    forbid (V) bool   tokens that are never written
    fill, rounds      the order in which an encoder-AE fills its blanks, and the number of passes over them
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
        if not (isinstance(self.temperature, Real) and 0 <= self.temperature < math.inf):
            raise UserError(f"temperature={self.temperature!r} is not a number from 0 on; 0 is greedy")
        least, most = TEMPERATURES
        if self.temperature != 0 and not least <= self.temperature <= most:
            raise UserError(
                f"temperature={self.temperature} cannot be told from greedy or from chance; give 0, which is "
                f"greedy, or a number from {least} to {most}"
            )
        for name in ("top_k", "beams", "rounds"):
            value = getattr(self, name)
            if not isinstance(value, Integral) and not (name == "top_k" and value is None):
                raise UserError(f"{name}={value!r} is not a whole number; give one, such as 4")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k={self.top_k} leaves no token; give 1 or more, or leave it out")
        if self.top_p is not None and not (isinstance(self.top_p, Real) and 0 < self.top_p <= 1):
            raise UserError(f"top_p={self.top_p!r} is not above 0 and at most 1; give a share such as 0.9")
        if self.top_p is not None and self.top_p < SMALLEST_SHARE:
            raise UserError(
                f"top_p={self.top_p} leaves no token; give a share from {SMALLEST_SHARE} on, or "
                "top_k=1 for the likeliest"
            )
        if self.temperature == 0 and not (self.top_k is None and self.top_p is None):
            raise UserError("top_k and top_p are for sampling; set a temperature above 0 too, such as 1")
        if self.beams < 1:
            raise UserError(f"beams={self.beams} is no width; give 1 or more")
        if self.beams > WIDEST:
            raise UserError(f"beams={self.beams} is too wide; give at most {WIDEST}")
        if self.beams > 1 and self.temperature > 0:
            raise UserError(
                f"beams={self.beams} with temperature={self.temperature}: beam search does not sample; "
                "set one of the two"
            )
        if not (isinstance(self.length_penalty, Real) and math.isfinite(self.length_penalty)):
            raise UserError(f"length_penalty={self.length_penalty!r} is not a finite number")
        if abs(self.length_penalty) > STEEPEST:
            raise UserError(
                f"length_penalty={self.length_penalty} leaves nothing of the log-probabilities; give one "
                f"from -{STEEPEST} to {STEEPEST}"
            )
        if self.beams == 1 and self.length_penalty != 1:
            raise UserError(
                f"length_penalty={self.length_penalty} compares beams; set beams above 1 too, such as 4"
            )
        listed = isinstance(self.stop, tuple | list)
        if not listed or not all(isinstance(token, Integral) for token in self.stop):
            raise UserError(f"stop={self.stop!r} is not a tuple of tokens; give their ids, such as (3,)")
        if self.fill not in ("mask_predict", "left_to_right"):
            raise UserError(f"fill={self.fill} is unknown; choose one of: mask_predict, left_to_right")
        if self.rounds < 1:
            raise UserError(f"rounds={self.rounds} fills nothing; give 1 or more")


GREEDY = Decoding()


def check_length(length: int) -> None:
    """Raises UserError for a number of tokens that cannot be written."""
    if not isinstance(length, Integral):
        raise UserError(f"length={length!r} is not a whole number; give the number of tokens to write")
    if length < 0:
        raise UserError(f"length={length} is negative; give the number of tokens to write")
    if length > LONGEST:
        raise UserError(f"length={length} is more than can be kept in memory; give at most {LONGEST}")


class Steps(Protocol):
    """A batch that is written from left to right. `Family.steps` makes it; a search drives it.

    room (B): how many tokens fit in each row; None = as many as were asked for.
    """

    room: Tensor | None

    def first(self) -> Tensor:
        """Reads the prompts and returns the logits (B,V) of the first token."""
        ...

    def next(self, tokens: Tensor) -> Tensor:
        """Appends tokens (B) and returns the logits (B,V) of the next ones."""
        ...

    def widen(self, times: int) -> None:
        """Repeats each row `times` times, as the neighbouring beams of one prompt. Call it after `first`."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Row i continues the text of row rows[i] (B), a beam of the same prompt."""
        ...
