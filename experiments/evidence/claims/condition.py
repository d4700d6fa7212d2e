"""Under what a claim is decided: a definition of the budget, and a scale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One definition of the budget at one scale."""

    stop: str
    scale: float

    def name(self, arm: str, own: Condition) -> str:
        """What the arm is called under this cell, if `own` is the sweep's."""
        stop = "" if self.stop == own.stop else f".{self.stop}"
        return arm + stop + ("" if self.scale == own.scale else f".x{self.scale:g}")
