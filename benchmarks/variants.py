"""What of ours costs how much more than another of ours, in turns: packed rows, a prefix, an order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.measuring import Spread, in_turns, ratio
from benchmarks.training import Settings
from benchmarks.workload import OBJECTIVE

K = 6  # one token in K is asked of a permuted LM
PLAIN, PACKED = "plain", "packed"


@dataclass(frozen=True)
class Beside:
    """goal: at most so many times as long."""

    work: tuple[str, str]
    base: tuple[str, str]
    goal: float | None = None


BESIDE = (
    *(Beside((family, PACKED), (family, PLAIN)) for family in OBJECTIVE),
    Beside(("prefix_lm", PLAIN), ("decoder_ar", PLAIN)),
    Beside(("prefix_lm", PACKED), ("decoder_ar", PLAIN)),
    Beside(("permuted_lm", PLAIN), ("encoder_ae", PLAIN), goal=1 + 1.3 / K),
)


def compared(settings: Settings, families: list[str]) -> list[tuple[Beside, Spread]]:
    """How many times as long each takes as what it stands beside, of those between these families."""
    pairs = [pair for pair in BESIDE if {pair.work[0], pair.base[0]} <= set(families)]
    kinds = list(dict.fromkeys(kind for pair in pairs for kind in (pair.base, pair.work)))
    steps = [replace(settings, packed=rows == PACKED).ours(family).step for family, rows in kinds]
    taken = in_turns(steps, settings.rounds, settings.warm_up, settings.block)
    seconds = dict(zip(kinds, taken, strict=True))
    return [(pair, ratio(seconds[pair.base], seconds[pair.work])) for pair in pairs]
