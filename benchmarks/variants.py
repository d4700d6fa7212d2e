"""The cost of one step of ours relative to another, in turns: packed rows, a prefix, an order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.measuring import Spread, in_turns, ratio
from benchmarks.training import Settings
from benchmarks.workload import OBJECTIVE

K = 6  # a permuted LM predicts one token in K
PLAIN, PACKED = "plain", "packed"


@dataclass(frozen=True)
class Beside:
    """A pair of (family, rows) to compare. goal: the most times as long that `work` may take as `base`."""

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
    """Each pair of these families, and how many times as long its work takes as its base."""
    pairs = [pair for pair in BESIDE if {pair.work[0], pair.base[0]} <= set(families)]
    kinds = list(dict.fromkeys(kind for pair in pairs for kind in (pair.base, pair.work)))
    steps = [replace(settings, packed=rows == PACKED).ours(family).step for family, rows in kinds]
    taken = in_turns(steps, settings.rounds, settings.warm_up, settings.block)
    seconds = dict(zip(kinds, taken, strict=True))
    return [(pair, ratio(seconds[pair.base], seconds[pair.work])) for pair in pairs]
