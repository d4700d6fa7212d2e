"""The scores of a run after each stage of its training, as lines."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.evidence.results import Metric, Spread

KEPT = Metric("forgetting", "First stage's text", "bits/byte", "lower", 3, "forgetting", lambda rows: None)


@dataclass(frozen=True)
class Point:
    """One stage of an arm, or its finetuning. place: from 0, the first stage; unit: of its scores; kept: bits
    per byte by seed; flops: all that led to it."""

    place: int
    stage: str
    finetuned: bool
    unit: str
    kept: Spread
    flops: str


@dataclass(frozen=True)
class Line:
    """One arm's stages in order, its finetuning last."""

    arm: str
    points: list[Point]

    def change(self, point: Point) -> Spread | None:
        """From the first stage, seed by seed; None where the units differ."""
        first = self.points[0]
        if point is first or point.unit != first.unit:
            return None
        before = first.kept.values
        values = {seed: value - before[seed] for seed, value in point.kept.values.items() if seed in before}
        return Spread(KEPT, values, point.kept.items)


def unit_in_words(unit: str) -> str:
    return "pseudo-NLL" if unit == "pll" else unit.upper()
