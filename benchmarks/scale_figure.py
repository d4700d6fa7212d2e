"""The figure of benchmarks.scale: a panel for each axis, a line for each family, both scales logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from experiments.report.figures.curves import looks
from experiments.report.figures.svg import MUTED, PAPER, STYLE, to_svg
from experiments.storage.whole import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.scale import Point

TITLES = {"length": "length (tokens of a batch held)", "batch": "batch (rows)"}
COLUMNS = 3


def draw(path: Path, points_by_axis: dict[str, dict[str, list[Point]]], base: dict[str, int]) -> None:
    """Writes an SVG with a background.

    points_by_axis: points by axis and family. base: the base shape's value of each axis.
    """
    families = list(next(iter(points_by_axis.values())))
    lines = -(-(len(points_by_axis) + 1) // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * COLUMNS, 2.6 * lines), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True).flatten()
        for number, (name, by_family) in enumerate(points_by_axis.items()):
            _panel(panels[number], name, by_family, base[name], labelled=number % COLUMNS == 0)
        for empty in panels[len(points_by_axis) :]:
            empty.set_axis_off()
        # The first panel lacks the proportional line, so the legend gathers the lines of all panels.
        named = {
            name: line
            for panel in panels
            for line, name in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        panels[len(points_by_axis)].legend(list(named.values()), list(named), loc="center", frameon=False)
        svg = to_svg(
            figure,
            f"Seconds of a training step against {', '.join(points_by_axis)}, of {', '.join(families)}",
        )
    paper = f'</title><rect width="100%" height="100%" fill="{PAPER}"/>'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, svg.replace("</title>", paper, 1).encode())


def _panel(axes: Axes, name: str, by_family: dict[str, list[Point]], base: int, labelled: bool) -> None:
    for family, look in looks(list(by_family)).items():
        row = by_family[family]
        axes.plot(
            [point.value for point in row],
            [1e3 * point.median for point in row],
            label=family,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markersize=4,
            linewidth=1.6,
        )
    values = [point.value for point in next(iter(by_family.values()))]
    if name != "length":  # where twice the value is not twice the work
        _proportional(axes, values, [1e3 * min(row[0].median for row in by_family.values())])
    axes.axvline(base, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), label="base shape")
    axes.set(xscale="log", yscale="log", title=TITLES.get(name, name))
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    if labelled:
        axes.set_ylabel("a training step, ms")


def _proportional(axes: Axes, values: list[int], start: list[float]) -> None:
    """Draws the line of time proportional to value, starting below the lowest line."""
    grown = [start[0] * 0.8 * value / values[0] for value in values]
    axes.plot(values, grown, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="proportional")
