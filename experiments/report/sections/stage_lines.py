"""The scores of an arm after each stage of its training, as a line of points."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.evidence.results import Metric, Spread

KEPT = Metric("forgetting", "First stage's text", "bits/byte", "lower", 3, "forgetting", lambda rows: None)


@dataclass(frozen=True)
class Point:
    """One stage of an arm, or its finetuning.

    place: 0 for the first stage. unit: that of its scores. kept: bits per byte on the first stage's text, by
    seed. flops: the sum over all stages so far.
    """

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
        """The change from the first stage, seed by seed; None for the first stage and if the units differ."""
        first = self.points[0]
        if point is first or point.unit != first.unit:
            return None
        before = first.kept.values
        values = {seed: value - before[seed] for seed, value in point.kept.values.items() if seed in before}
        return Spread(KEPT, values, point.kept.items)


def unit_in_words(unit: str) -> str:
    return "pseudo-NLL" if unit == "pll" else unit.upper()
