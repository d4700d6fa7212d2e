"""Equal tuning on the page: every arm's curve, the chosen values, and the cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from experiments.evidence.audit import amount
from experiments.evidence.tuning import Trial, Tuning
from experiments.report.figures.curves import DASHES, Look, inlined, looks
from experiments.report.figures.svg import INK, MUTED, STYLE, to_svg
from experiments.report.grid import Cell, Grid
from experiments.report.markup import escaped
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDS = {-1: "at the least rate tried", 1: "at the greatest rate tried"}


@dataclass(frozen=True)
class Tuned:
    """The section. figures: (arm, curve). flagged: arms whose best rate is at an end of the grid."""

    grid: Grid
    figures: list[tuple[str, Markup]]
    cost: str
    rule: str
    flagged: list[str]


def section(tuning: Tuning, sweep: SweepRecord) -> Tuned:
    """The section of a sweep that was tuned."""
    arms = sweep.arms
    drawn = looks([*arms, *(arm for arm in tuning.trials if arm not in arms)])
    return Tuned(
        table(tuning),
        [(arm, Markup(_curve(arm, tuning, drawn[arm]))) for arm in tuning.trials],
        cost(tuning, sweep),
        rule(tuning),
        [arm for arm in tuning.trials if tuning.end(arm)],
    )


def rule(tuning: Tuning) -> str:
    """How every arm was tuned, in a sentence."""
    warmups = f" and {len(tuning.warmups)} warm-ups" if tuning.warmups else ""
    rates = ", ".join(f"{rate:g}" for rate in tuning.rates)
    return (
        f"Every arm tried the same {len(tuning.rates)} peak learning rates ({rates}){warmups}, each in a "
        f"run of its own at {tuning.fraction:.0%} of the arm's budget on a seed that no result is of, and "
        "took the one with the least validation loss of its own objective."
    )


def cost(tuning: Tuning, sweep: SweepRecord) -> str:
    """A sentence on what all trials spent, and their share of the sweep's FLOPs."""
    spent = tuning.cost
    runs = sum(run.audit["spent"]["flops"] for run in sweep.runs if run.audit)
    count = sum(map(len, tuning.trials.values()))
    return (
        f"{count} trials cost {amount(spent['flops'])} training FLOPs, {amount(spent['tokens'])} raw tokens "
        f"and {spent['seconds']:,.0f} seconds: {spent['flops'] / (spent['flops'] + runs):.1%} of the "
        "sweep's FLOPs."
    )


def table(tuning: Tuning) -> Grid:
    heads = [
        "arm",
        "learning rate",
        "warm-up",
        Cell("its loss", "nats, own question"),
        Cell("next best", "nats"),
    ]
    return Grid.of("Tuning of every arm", [*heads, "trials", "diverged", "place in the grid"], _rows(tuning))


def _rows(tuning: Tuning) -> list[list[str | Cell]]:
    rows: list[list[str | Cell]] = []
    for arm, trials in tuning.trials.items():
        point, losses = tuning.chosen(arm), sorted(t.loss for t in trials if t.loss is not None)
        end = tuning.end(arm)
        place = (
            Cell(f"{ENDS[end]}: a better one may lie beyond", kind="prose bad")
            if end
            else Cell("inside", kind="good")
        )
        best, second = [f"{loss:.4f}" for loss in losses[:2]] + ["none"] * (2 - len(losses[:2]))
        diverged = str(len(trials) - len(losses))
        place = place if losses else Cell("every trial diverged", kind="prose bad")
        rows.append(
            [
                Cell(arm, arm=True),
                f"{point.learning_rate:g}",
                f"{point.warmup:g}",
                best,
                second,
                str(len(trials)),
                diverged,
                place,
            ]
        )
    return rows


def _curve(arm: str, tuning: Tuning, look: Look) -> str:
    """Validation loss against learning rate, a line for each warm-up; the chosen point ringed."""
    trials, chosen = tuning.trials[arm], tuning.chosen(arm)
    rates = sorted(tuning.rates)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.9, 2.0), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        tips = _lines(axes, arm, trials, look)
        losses = [trial.loss for trial in trials if trial.loss is not None]
        if losses:
            ring = {"markersize": 12, "markeredgewidth": 1.4, "fillstyle": "none", "color": INK}
            axes.plot([chosen.learning_rate], [min(losses)], "o", **ring)
        for rate in {trial.point.learning_rate for trial in trials if trial.loss is None}:
            where = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
            axes.annotate("diverged", (rate, 0.97), size=8, color=MUTED, rotation=90, **where)
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set(xlabel="peak learning rate", ylabel="own loss, nats", xlim=(rates[0] / 1.3, rates[-1] * 1.3))
        axes.margins(y=0.18)
        svg = to_svg(figure, f"Tuning of {arm}: validation loss against learning rate", tips)
    return inlined(svg)


def _lines(axes: Axes, arm: str, trials: list[Trial], look: Look) -> dict[str, str]:
    """Draws a line for each warm-up; returns the tooltips."""
    tips = {}
    for number, warmup in enumerate(dict.fromkeys(trial.point.warmup for trial in trials)):
        line = {
            trial.point.learning_rate: trial.loss
            for trial in trials
            if trial.point.warmup == warmup and trial.loss is not None
        }
        gid = f"tuning-{number}"
        tips[gid] = f"{arm}, warm-up {warmup:g}: " + ", ".join(
            f"{loss:.4f} at {rate:g}" for rate, loss in line.items()
        )
        axes.plot(
            list(line),
            list(line.values()),
            color=look.colour,
            linestyle=DASHES[number % len(DASHES)],
            marker=look.marker,
            markersize=4,
            linewidth=1.6,
            gid=gid,
        )
    return tips


def _values(report: Report) -> Values | None:
    return None if report.tuning is None else {"tuning": section(report.tuning, report.sweep)}


def _markdown(report: Report, values: Values) -> Iterator[str]:
    content: Tuned = values["tuning"]
    yield "## Tuning"
    yield escaped(f"{content.rule} {content.cost}")
    yield markdown_table(content.grid)


SECTION = Section("tuning", "Tuning", _values, _markdown)
