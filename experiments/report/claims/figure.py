"""A claim's figure: each seed's paired difference, and the smallest visible effect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import Finding, Reading
from experiments.evidence.claims.verdicts import Outcome
from experiments.report.claimed import Claimed
from experiments.report.claims import words
from experiments.report.figures.curves import COLOURS, MARKERS, inlined
from experiments.report.figures.svg import INK, MUTED, STYLE, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 3.0  # a published effect beyond this many times the figure's range is an arrow at its edge
Row = tuple[Reading, Finding]


def differences(claimed: Claimed, outcome: Outcome) -> str | None:
    """An SVG with a row for each part and budget, and an axis for each endpoint; None without findings."""
    rows = [
        (reading, finding)
        for reading in claimed.deciding(outcome) or outcome.readings
        for finding in reading.findings
    ]
    if not rows:
        return None
    named = list(dict.fromkeys(finding.part.endpoint for _, finding in rows))
    groups = [[row for row in rows if row[1].part.endpoint == name] for name in named]
    heights = [0.75 + 0.5 * len(group) for group in groups]
    tips: dict[str, str] = {}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, sum(heights)), layout="constrained")
        drawn = figure.subplots(len(groups), squeeze=False, height_ratios=heights)
        for number, (axes, group) in enumerate(zip(drawn[:, 0], groups, strict=True)):
            tips |= _draw(axes, group, outcome.claim, number)
        svg = to_svg(figure, _label(outcome, rows), tips)
    return inlined(svg)


def _label(outcome: Outcome, rows: list[Row]) -> str:
    values = "; ".join(
        f"{finding.part.text} by {words.place(reading.cell)} {words.gain(finding.endpoint, finding.test)}"
        for reading, finding in rows
    )
    return f"{outcome.name}: paired differences, every seed a dot. Means with 95% intervals: {values}"


def _draw(axes: Axes, rows: list[Row], claim: Claim, figure: int) -> dict[str, str]:
    endpoint = endpoint_of(rows[0][1].part.endpoint)
    tips: dict[str, str] = {}
    axes.axvline(0, color=INK, linewidth=1)
    if claim.margin is not None:
        axes.axvspan(-claim.margin, claim.margin, color=COLOURS[2], alpha=0.22, linewidth=0)
    for number, (reading, finding) in enumerate(rows):
        tips |= _row(axes, number, reading, finding, f"{figure}-{number}")
    _limits(axes, rows, claim)
    if words.comparable(claim):
        _published(axes, claim)
    axes.set(ylim=(len(rows) - 0.45, -0.7), xlabel=f"{endpoint.unit} of {endpoint.title}, right is in favour")
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return tips


def _row(axes: Axes, number: int, reading: Reading, finding: Finding, name: str) -> dict[str, str]:
    place = list(words.STOPS).index(reading.cell.stop) if reading.cell.stop in words.STOPS else 2
    colour, test = COLOURS[place * 3], finding.test
    if not math.isinf(finding.smallest):
        width = 2 * finding.smallest
        axes.barh([number], [width], 0.56, left=-finding.smallest, color=MUTED, alpha=0.16, linewidth=0)
    axes.plot(
        (test.low, test.high), (number, number), color=colour, linewidth=6, alpha=0.3, solid_capstyle="butt"
    )
    if finding.equivalence is not None:
        inner = finding.equivalence.low, finding.equivalence.high
        axes.plot(inner, (number, number), color=colour, linewidth=1.4, solid_capstyle="butt")
    axes.plot((test.mean,) * 2, (number - 0.24, number + 0.24), color=colour, linewidth=2.2)
    label = f"{finding.part.text}, by {words.place(reading.cell)}"
    axes.annotate(
        label, (0, number - 0.33), (2, 0), ("axes fraction", "data"), "offset points", size=8, va="bottom"
    )
    tips = {}
    for seed, value in finding.per_seed.items():
        gid = f"difference-{name}-{seed}"
        tips[gid] = f"{label}, seed {seed}: {words.signed(finding.endpoint, value)} {finding.endpoint.unit}"
        axes.plot([value], [number], color=colour, marker=MARKERS[place], markersize=5, alpha=0.8, gid=gid)
    return tips


def _limits(axes: Axes, rows: list[Row], claim: Claim) -> None:
    """Shows all findings, and the published effect unless it is so far off that they would be illegible."""
    ends = [0.0, *([claim.margin, -claim.margin] if claim.margin else [])]
    for _, finding in rows:
        ends += [finding.test.low, finding.test.high, *finding.per_seed.values()]
        ends += [] if math.isinf(finding.smallest) else [finding.smallest, -finding.smallest]
    effect = claim.published.effect
    if words.comparable(claim) and effect is not None and abs(effect) <= FAR * max(map(abs, ends)):
        ends.append(effect)
    low, high = min(ends), max(ends)
    room = 0.06 * ((high - low) or 1.0)
    axes.set_xlim(low - room, high + room)


def _published(axes: Axes, claim: Claim) -> None:
    effect = claim.published.effect
    assert effect is not None
    low, high = axes.get_xlim()
    inside = low <= effect <= high
    if inside:
        axes.axvline(effect, color=COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.4)
    place = effect if inside else (high if effect > high else low)
    text = f"published {effect:+g}"
    text = text if inside else f"{text} →" if effect > high else f"← {text}"
    share = (place - low) / (high - low)
    side = "right" if share > 0.7 else "left" if share < 0.3 else "center"
    axes.annotate(
        text,
        (place, 1),
        (0, 3),
        ("data", "axes fraction"),
        "offset points",
        size=8,
        color=COLOURS[1],
        ha=side,
    )
