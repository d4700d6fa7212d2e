"""The forgetting curve: bits per byte on the first stage's text after each stage, one line for each arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.report.figures.curves import Look, inlined, looks
from experiments.report.figures.svg import INK, PAPER, STYLE, to_svg
from experiments.report.sections.stage_lines import Line, unit_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

APART = 0.07  # of a stage: the shift between arms, so that their points do not overlap


def curves(lines: Sequence[Line], arms: Sequence[str]) -> list[str]:
    """One figure for each unit of scores, since two units never share an axis."""
    units = dict.fromkeys(point.unit for line in lines for point in line.points)
    return [_curve(lines, unit, looks(arms)) for unit in units]


def _curve(lines: Sequence[Line], unit: str, drawn: dict[str, Look]) -> str:
    tips: dict[str, str] = {}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.8, 3.3), layout="constrained")
        axes = figure.subplots()
        for number, line in enumerate(lines):
            tips |= _line(axes, line, unit, drawn[line.arm], (number - (len(lines) - 1) / 2) * APART)
        names = _names(lines)
        axes.set_xticks(range(len(names)), names, color=INK)
        axes.set(
            xlim=(-0.4, len(names) - 0.6),
            xlabel="after stage",
            ylabel=f"first stage's text, bits/byte ({unit_in_words(unit)})",
        )
        axes.grid(visible=False, axis="x")
        values = "; ".join(
            f"{line.arm} {', '.join(f'{p.stage} {p.kept.text}' for p in line.points if p.unit == unit)}"
            for line in lines
        )
        svg = to_svg(figure, f"Bits per byte on the first stage's validation text by stage: {values}", tips)
    return inlined(svg)


def _line(axes: Axes, line: Line, unit: str, look: Look, shift: float) -> dict[str, str]:
    """Draws one arm: seeds as dots, means as a line, intervals as bars; returns the tooltips of its dots."""
    tips: dict[str, str] = {}
    points = [point for point in line.points if point.unit == unit]
    means = [point.kept.mean for point in points]
    axes.plot(
        [point.place + shift for point in points],
        means,
        color=look.colour,
        linestyle=look.dash,
        linewidth=1.6,
    )
    for point in points:
        place = point.place
        half = point.kept.half_width
        if half is not None:
            ends = (point.kept.mean - half, point.kept.mean + half)
            axes.plot(
                (place + shift,) * 2, ends, color=look.colour, linewidth=5, alpha=0.25, solid_capstyle="butt"
            )
        for seed, value in point.kept.values.items():
            gid = f"stage-{line.arm}-{place}-{seed}"
            value_text = f"{point.kept.metric.text(value)} {point.kept.metric.unit}"
            tips[gid] = f"{line.arm}, after {point.stage}, seed {seed}: {value_text}"
            axes.plot(
                [place + shift],
                [value],
                color=look.colour,
                marker=look.marker,
                markersize=5,
                markerfacecolor=PAPER if point.finetuned else look.colour,
                gid=gid,
            )
    return tips


def _names(lines: Sequence[Line]) -> list[str]:
    """The label of each place: the names of the arms' stages there, one below the other."""
    points = sorted((point for line in lines for point in line.points), key=lambda point: point.finetuned)
    return [
        "\n".join(dict.fromkeys(point.stage for point in points if point.place == place))
        for place in range(max(point.place for point in points) + 1)
    ]
