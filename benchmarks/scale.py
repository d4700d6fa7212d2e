"""The cost of a training step against length, width, depth, vocabulary and batch.

    python -m benchmarks.scale [--families decoder_ar,…] [--rounds N] [--device cpu|cuda] [--figure FILE.svg]

One axis varies at a time around a base shape; all values of an axis take turns in one process. With a longer
length a batch has fewer rows and the same tokens, so that only the cost of attention changes. With a larger
width there are more heads of the same width. The exponent is the slope of log seconds over log value, in
brackets over the upper half of the values. Beside it is the exponent of the counted FLOPs. If that of the
seconds is larger, something other than matrix products costs time.
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
    """One axis. of(shape): its value. shape(base, value): sets it. factors: multiply the base's value."""

    name: str
    of: Callable[[Shape], int]
    shape: Callable[[Shape, int], Shape]
    factors: tuple[float, ...] = (0.5, 1, 2, 4)

    def values(self, base: Shape) -> list[int]:
        return [round(factor * self.of(base)) for factor in self.factors]


def longer(base: Shape, length: int) -> Shape:
    """The same number of tokens in rows of this length."""
    return replace(base, length=length, rows=base.tokens // length)


def wider(base: Shape, width: int) -> Shape:
    """More heads of the same width."""
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
    """A family's step at one value. flops: of training, as the objective counts them, not as profiled."""

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
    """Measures the family's step at every value of the axis, in turns."""
    values = axis.values(base)
    steps = [Ours(family, axis.shape(base, value), device=device, autocast=autocast) for value in values]
    read_batches = [each.batch(0) for each in steps]
    seconds = in_turns(
        [
            lambda each=each, batch=batch: each.train_on(batch)
            for each, batch in zip(steps, read_batches, strict=True)
        ],
        rounds,
        warm_up=2,
    )
    flops = [
        each.learner.objective.flops(each.learner.family, batch)
        for each, batch in zip(steps, read_batches, strict=True)
    ]
    return [
        Point(value, each.shape, taken, count)
        for value, each, taken, count in zip(values, steps, seconds, flops, strict=True)
    ]


def exponents(points: list[Point], costs: Sequence[float]) -> str:
    """The exponent through all points, and in brackets through the upper half of them."""
    upper = len(points) // 2
    return f"{exponent(points, costs):.2f} ({exponent(points[upper:], costs[upper:]):.2f})"


def exponent(points: list[Point], costs: Sequence[float]) -> float:
    """The least-squares slope of log cost over log value."""
    return float(np.polyfit(np.log([point.value for point in points]), np.log(costs), 1)[0])


def table(axis: Axis, points: dict[str, list[Point]], rounds: int) -> Table:
    note = ", tokens of a batch held" if axis.name == "length" else ""
    shown = Table(title=f"{axis.name}{note}; seconds: median (middle half) of {rounds}")
    shown.add_column("family")
    for heading in (axis.name, "ms", "tokens/s", "GFLOPs", "GFLOP/s", "exponent", "of FLOPs"):
        shown.add_column(heading, justify="right")
    for family, row in points.items():
        of_seconds = exponents(row, [point.median for point in row])
        of_flops = exponents(row, [point.flops for point in row])
        for number, point in enumerate(row):
            last = point is row[-1]
            shown.add_row(
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
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", default=ALL, help="with commas between them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=BASE, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--figure", type=Path, help="an SVG: a panel for each axis, a line for each family")
    options = parser.parse_args()
    families, rounds = families_of(options.families), command.rounds(options.rounds)
    base, device = BASE[options.device], command.device(options.device)
    console, points_by_axis = Console(), {}
    for axis in AXES:
        points_by_axis[axis.name] = {
            family: measured(family, axis, base, device, options.device == "cuda", rounds)
            for family in families
        }
        console.print(table(axis, points_by_axis[axis.name], rounds))
    console.print(f"base: {base}", highlight=False)
    console.print(machine(), highlight=False)
    if options.figure:
        from benchmarks.scale_figure import draw

        draw(options.figure, points_by_axis, {axis.name: axis.of(base) for axis in AXES})


if __name__ == "__main__":
    command.run(main)
