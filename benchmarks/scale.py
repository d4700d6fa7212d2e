"""What a training step costs against length, width, depth, vocabulary and batch.

    python -m benchmarks.scale [--families decoder_ar,…] [--rounds N] [--device cpu|cuda] [--figure FILE.svg]

One thing varies at a time around a base shape; all values of an axis take turns in one process. Where the
length varies the tokens of a batch do not: rows are longer and fewer, so that only what attention costs
changes. Where the width varies heads stay as wide. The exponent is the slope of log seconds over log value,
in brackets over the upper half of the values; that of the counted FLOPs stands beside it. A larger one says
that something other than products costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import command
from benchmarks.measuring import Spread, in_turns, machine
from benchmarks.workload import ALL, Ours, Shape, families_of

BASE = {
    "cpu": Shape(layers=4, width=128, heads=4, vocabulary=4096, rows=8, length=128),
    "cuda": Shape(layers=8, width=768, heads=12, vocabulary=32768, rows=32, length=512),
}


@dataclass(frozen=True)
class Axis:
    """One thing that varies: `shape(base, value)` for each of base's own value times `factors`."""

    name: str
    of: Callable[[Shape], int]
    shape: Callable[[Shape, int], Shape]
    factors: tuple[float, ...] = (0.5, 1, 2, 4)

    def values(self, base: Shape) -> list[int]:
        return [round(factor * self.of(base)) for factor in self.factors]


def longer(base: Shape, length: int) -> Shape:
    """As many tokens in rows of this length."""
    return replace(base, length=length, rows=base.tokens // length)


def wider(base: Shape, width: int) -> Shape:
    """More heads of one width."""
    return replace(base, width=width, heads=base.heads * width // base.width)


AXES = (
    Axis("length", lambda s: s.length, longer, (0.5, 1, 2, 4, 8)),
    Axis("width", lambda s: s.width, wider),
    Axis("depth", lambda s: s.layers, lambda s, value: replace(s, layers=value)),
    Axis("vocabulary", lambda s: s.vocabulary, lambda s, value: replace(s, vocabulary=value)),
    Axis("batch", lambda s: s.rows, lambda s, value: replace(s, rows=value)),
)


@dataclass(frozen=True)
class Point:
    """A family's step at one value. flops: of training, as counted, not as a profiler sees them."""

    value: int
    shape: Shape
    seconds: list[float]
    flops: int

    @property
    def median(self) -> float:
        return Spread.of(self.seconds).median


def measured(
    family: str, axis: Axis, base: Shape, device: torch.device, autocast: bool, rounds: int
) -> list[Point]:
    """The family's step at every value of the axis, in turns."""
    values = axis.values(base)
    steps = [Ours(family, axis.shape(base, value), device=device, autocast=autocast) for value in values]
    read = [each.batch(0) for each in steps]
    seconds = in_turns(
        [
            lambda each=each, batch=batch: each.train_on(batch)
            for each, batch in zip(steps, read, strict=True)
        ],
        rounds,
        warm_up=2,
    )
    flops = [
        each.learner.objective.flops(each.learner.family, batch)
        for each, batch in zip(steps, read, strict=True)
    ]
    return [
        Point(value, each.shape, taken, count)
        for value, each, taken, count in zip(values, steps, seconds, flops, strict=True)
    ]


def exponents(points: list[Point], costs: Sequence[float]) -> str:
    """Of the power law through all points, and through the upper half of them."""
    upper = len(points) // 2
    return f"{exponent(points, costs):.2f} ({exponent(points[upper:], costs[upper:]):.2f})"


def exponent(points: list[Point], costs: Sequence[float]) -> float:
    """The least-squares slope of log cost over log value."""
    return float(np.polyfit(np.log([point.value for point in points]), np.log(costs), 1)[0])


def table(axis: Axis, points: dict[str, list[Point]], rounds: int) -> Table:
    what = ", tokens of a batch held" if axis.name == "length" else ""
    found = Table(title=f"{axis.name}{what}; seconds: median (middle half) of {rounds}")
    found.add_column("family")
    for heading in (axis.name, "ms", "tokens/s", "GFLOPs", "GFLOP/s", "exponent", "of FLOPs"):
        found.add_column(heading, justify="right")
    for family, row in points.items():
        of_seconds = exponents(row, [point.median for point in row])
        of_flops = exponents(row, [point.flops for point in row])
        for number, point in enumerate(row):
            last = point is row[-1]
            found.add_row(
                "" if number else family,
                f"{point.value:,}",
                Spread.of([1e3 * each for each in point.seconds]).shown(",.1f"),
                f"{point.shape.tokens / point.median:,.0f}",
                f"{point.flops / 1e9:,.2f}",
                f"{point.flops / point.median / 1e9:,.0f}",
                of_seconds if last else "",
                of_flops if last else "",
                end_section=last,
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", default=ALL, help="with commas between them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=BASE, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--figure", type=Path, help="an SVG: a panel for each axis, a line for each family")
    asked = parser.parse_args()
    families, rounds = families_of(asked.families), command.rounds(asked.rounds)
    base, device = BASE[asked.device], command.device(asked.device)
    console, found = Console(), {}
    for axis in AXES:
        found[axis.name] = {
            family: measured(family, axis, base, device, asked.device == "cuda", rounds)
            for family in families
        }
        console.print(table(axis, found[axis.name], rounds))
    console.print(f"base: {base}", highlight=False)
    console.print(machine(), highlight=False)
    if asked.figure:
        from benchmarks.scale_figure import draw

        draw(asked.figure, found, {axis.name: axis.of(base) for axis in AXES})


if __name__ == "__main__":
    command.run(main)
