"""The page's figures: learning curves, and results with a dot for every seed.

An arm has one colour everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from experiments.evidence.results import Metric, Spread
from experiments.report.figures.masks import FLOWS, LEAK, SEEN, mask_figure
from experiments.report.figures.svg import INK, MUTED, STYLE, inline, to_svg
from experiments.runs.reading import SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Distinct under the three kinds of colour blindness, with a contrast of at least 3 to 1 on white; the page
# has lighter ones for dark mode. Further arms take the next dash; markers and dashes work without colour.
COLOURS = ("#0a6fc2", "#ee3d14", "#009e73", "#8a2f84", "#82902a", "#332288", "#583213", "#7e8d96")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)))
MARKERS = "osD^vP*X"
AXES = (("tokens", "raw tokens read"), ("targets", "supervised targets"), ("flops", "training FLOPs"))
APART = 3  # final losses further apart than this factor are drawn on a logarithmic axis
POINTS = 60  # of a training curve, each the mean over a stretch of the run
MANY = 60  # with more runs a curve has fewer points, and a marker only at its end


@dataclass(frozen=True)
class Look:
    """How an arm is drawn. variable: the name of its colour in the page's CSS."""

    colour: str
    variable: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str

    @classmethod
    def of(cls, number: int) -> Look:
        colour = number % len(COLOURS)
        return cls(
            COLOURS[colour],
            f"arm{colour}",
            DASHES[number // len(COLOURS) % len(DASHES)],
            MARKERS[number % len(MARKERS)],
        )


def looks(arms: Sequence[str]) -> dict[str, Look]:
    return {arm: Look.of(number) for number, arm in enumerate(arms)}


def key(arm: str, look: Look) -> str:
    """The swatch beside an arm's name, drawn like the arm's lines and dots."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.36, 0.16))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.plot([0, 2], [0, 0], color=look.colour, linestyle=look.dash, linewidth=2)
        axes.plot([1], [0], color=look.colour, marker=look.marker, markersize=5)
        axes.set(xlim=(-0.1, 2.1), ylim=(-1, 1))
        axes.set_axis_off()
        return inlined(to_svg(figure, f"key of {arm}"))


def curves(sweep: SweepRecord) -> list[str]:
    """Loss against tokens, targets and FLOPs, training faint, validation bold; [] if no run has metrics."""
    if not any(run.metrics for run in sweep.runs):
        return []
    return [_curve(sweep, column, label) for column, label in AXES]


def _curve(sweep: SweepRecord, column: str, label: str) -> str:
    drawn, tips = looks(sweep.arms), {}
    many = len(sweep.runs) > MANY
    points = max(8, POINTS * MANY // len(sweep.runs)) if many else POINTS
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.5, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, run in enumerate(sweep.runs):
            look = drawn[run.arm]
            if run.metrics:
                x, y = _thinned(
                    [row[column] for row in run.metrics], [row["loss"] for row in run.metrics], points
                )
                axes.plot(x, y, color=look.colour, linewidth=1, alpha=0.35)
            validated = [row for row in run.metrics if "validation_loss" in row]
            if validated:
                gid = f"curve-{number}"
                tips[gid] = f"{run.arm}, seed {run.seed}: validation loss"
                axes.plot(
                    [row[column] for row in validated],
                    [row["validation_loss"] for row in validated],
                    color=look.colour,
                    linestyle=look.dash,
                    linewidth=1.8,
                    marker=look.marker,
                    markersize=3.2,
                    markevery=[-1] if many else None,
                    gid=gid,
                )
        axes.set(xlabel=label, ylabel="own loss, nats")
        ends = [row for run in sweep.runs for row in run.metrics[-1:]]
        lasts = [row["validation_loss"] for row in ends if "validation_loss" in row]
        if lasts and max(lasts) > APART * min(lasts):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        svg = to_svg(figure, f"Learning curves against {label}, of {', '.join(sweep.arms)}", tips)
    return inlined(svg)


def _thinned(x: list[float], y: list[float], points: int) -> tuple[list[float], list[float]]:
    """At most `points` means of neighbouring points, so that a long run does not make the page larger."""
    parts = min(points, len(x))
    return (
        [float(part.mean()) for part in np.array_split(x, parts)],
        [float(part.mean()) for part in np.array_split(y, parts)],
    )


def dots(
    metric: Metric, spreads: dict[str, Spread], baselines: list[tuple[str, float]], arms: Sequence[str]
) -> str:
    """One row for each arm: seeds as dots, the mean as a bar, the interval as a band. Baselines are lines."""
    drawn, tips = looks(arms), {}
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(4.4, 0.75 + 0.3 * len(spreads) + 0.17 * len(baselines)), layout="constrained"
        )
        axes = figure.subplots()
        for row, (arm, spread) in enumerate(spreads.items()):
            tips |= _row(axes, row, arm, spread, drawn[arm])
        for number, (name, value) in enumerate(baselines):
            axes.axvline(value, color=MUTED, linestyle=(0, (3, 2)), linewidth=1)
            axes.annotate(
                f"{name} {metric.text(value)}",
                (value, 1),
                (0, 3 + 11 * number),
                ("data", "axes fraction"),
                "offset points",
                size=8,
                color=MUTED,
                ha="center",
            )
        axes.set_yticks(range(len(spreads)), list(spreads), color=INK)
        axes.set(ylim=(len(spreads) - 0.4, -0.6), xlabel=f"{metric.unit}, {metric.better} is better")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.14)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        values = "; ".join(f"{arm} {spread.text}" for arm, spread in spreads.items())
        svg = to_svg(figure, f"{metric.title} ({metric.unit}), every seed a dot. Means: {values}", tips)
    return inlined(svg)


def _row(axes: Axes, row: int, arm: str, spread: Spread, look: Look) -> dict[str, str]:
    """Draws one arm; returns the tooltips of its dots."""
    if spread.half_width is not None:
        ends = spread.mean - spread.half_width, spread.mean + spread.half_width
        axes.plot(ends, (row, row), color=look.colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
        axes.plot((spread.mean,) * 2, (row - 0.26, row + 0.26), color=look.colour, linewidth=2)
    tips = {}
    for seed, value in spread.values.items():
        gid = f"dot-{row}-{seed}"
        tips[gid] = f"{arm}, seed {seed}: {spread.metric.text(value)} {spread.metric.unit}"
        axes.plot([value], [row], color=look.colour, marker=look.marker, markersize=5.5, alpha=0.85, gid=gid)
    return tips


@cache
def masks(family: str) -> str:
    """The masks of one family as SVG, drawn once a process, since they are the same for every sweep."""
    return inline(mask_figure([family], width=5.3), {SEEN: "seen", FLOWS: "flows", LEAK: "leak"})


def inlined(svg: str) -> str:
    return inline(svg, {colour: f"arm{number}" for number, colour in enumerate(COLOURS)})
