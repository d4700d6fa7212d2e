"""The condition that a claim is tested under: a definition of the budget, and a scale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One definition of the budget at one scale."""

    stop: str
    scale: float

    def name(self, arm: str, own: Condition) -> str:
        """Returns the arm's name under this condition. `own`: the condition of the sweep itself."""
        stop = "" if self.stop == own.stop else f".{self.stop}"
        return arm + stop + ("" if self.scale == own.scale else f".x{self.scale:g}")
