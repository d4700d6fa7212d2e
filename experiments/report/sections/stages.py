"""Pretraining in stages: each arm's scores on the first stage's text, and the cost of all stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from experiments.evidence.audit import amount, ranged
from experiments.evidence.results import Spread, scores
from experiments.report.grid import Cell, Grid
from experiments.report.markup import escaped, listed
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section, Values
from experiments.report.sections.stage_lines import KEPT, Line, Point, unit_in_words
from experiments.runs.reading import RunRecord, SweepRecord

ASKED = (
    "Bits per byte on the first stage's validation text, asked after every stage as likelihood asks the test "
    "text: the second half of a window given the first. What rises has been forgotten. The last point is of "
    "the model as the task's finetuning leaves it."
)


@dataclass(frozen=True)
class Stages:
    """The section. asked: a description of the measurement. remarks: sentences for reading the table."""

    asked: str
    figures: list[Markup]
    grid: Grid
    remarks: list[str]


def section(sweep: SweepRecord) -> Stages | None:
    """The section; None if no finished run began from another."""
    lines_of_arms = lines(sweep)
    if not lines_of_arms:
        return None
    from experiments.report.sections.stage_figure import curves

    return Stages(
        ASKED,
        [Markup(svg) for svg in curves(lines_of_arms, sweep.arms)],
        _grid(lines_of_arms),
        _remarks(sweep),
    )


def lines(sweep: SweepRecord) -> list[Line]:
    """A line for every arm that has stages, in the sweep's order."""
    return [Line(arm, points) for arm in sweep.arms if (points := _points(_staged(sweep, arm)))]


def _staged(sweep: SweepRecord, arm: str) -> list[RunRecord]:
    return [run for run in sweep.of(arm) if run.done and run.ask("forgetting", "by_stage")]


def _points(runs: list[RunRecord]) -> list[Point]:
    """The points of an arm's runs, which all have the same stages. Stages without a score are left out."""
    kept: dict[int, dict[int, float]] = {}
    items: dict[int, int] = {}
    for run in runs:
        rows = scores(run, "forgetting")
        if rows is None:
            continue
        for place in sorted(set(rows["place"].tolist())):
            rows_of_stage = np.asarray(rows["place"]) == place
            nats, length = (
                np.asarray(rows[name], dtype=float)[rows_of_stage].sum() for name in ("nats", "bytes")
            )
            kept.setdefault(place, {})[run.seed] = float(nats / math.log(2) / length)
            items[place] = int(rows_of_stage.sum())
    by_stage = runs[0].ask("forgetting", "by_stage") if runs else []
    stages = _chain(runs[0]) if runs else []
    return [
        Point(
            place,
            by_stage[place]["stage"],
            place >= len(stages),
            by_stage[place]["unit"],
            Spread(KEPT, values, items[place]),
            _flops(runs, place),
        )
        for place, values in sorted(kept.items())
    ]


def _chain(run: RunRecord) -> list[dict[str, Any]]:
    return run.audit["chain"]["stages"] if run.audit else []


def _flops(runs: list[RunRecord], place: int) -> str:
    """The FLOPs of all stages up to this one. Finetuning is not counted, for any arm."""
    chains = [_chain(run)[: place + 1] for run in runs]
    if any(stage["spent"] is None for chain in chains for stage in chain):
        return "not known"
    return ranged((sum(stage["spent"]["flops"] for stage in chain) for chain in chains), amount)


def _grid(lines_of_arms: list[Line]) -> Grid:
    rows = []
    for line in lines_of_arms:
        for point in line.points:
            change = line.change(point)
            rows.append(
                [
                    Cell(line.arm, arm=True),
                    Cell(point.stage, kind="prose"),
                    Cell(point.kept.text, point.kept.interval, "value"),
                    Cell("") if change is None else Cell(f"{change.mean:+.3f}", change.interval, "value"),
                    Cell(unit_in_words(point.unit), f"{point.kept.items:,} windows"),
                    point.flops,
                ]
            )
    heads = [
        "arm",
        "after stage",
        Cell("first stage's text", "bits/byte, lower is better"),
        Cell("change", "from the first stage"),
        "unit",
        Cell("FLOPs so far", "finetuning left out"),
    ]
    return Grid.of("What each stage kept of the first one's text", heads, rows)


def _remarks(sweep: SweepRecord) -> list[str]:
    return ["Changes are taken seed by seed.", *_controls(sweep), *_overlaps(sweep), *_units(sweep)]


def _controls(sweep: SweepRecord) -> list[str]:
    """Which arms spent the same after the first stage; only those show what the text itself is worth."""
    spent: dict[tuple[str, str], list[str]] = {}
    for arm in sweep.arms:
        for run in _staged(sweep, arm)[:1]:
            first, *later = _chain(run)
            key = first["stage"], amount(sum(stage["spent"]["flops"] for stage in later))
            spent.setdefault(key, []).append(arm)
    equal = [
        f"{' and '.join(arms)} spent the same after {first}: {flops} training FLOPs. What they differ in is "
        "which text it was spent on."
        for (first, flops), arms in spent.items()
        if len(arms) > 1
    ]
    return equal or [
        "No two arms spent the same after the first stage, so more of any text would do as an explanation."
    ]


def _overlaps(sweep: SweepRecord) -> list[str]:
    """How many of the windows that measure forgetting share text with each arm's last stage."""
    shares = []
    for arm in sweep.arms:
        for run in _staged(sweep, arm)[:1]:
            share = run.ask("forgetting", "overlap", "items")
            if share:
                shares.append(f"{arm} {share:.1%}")
    if not shares:
        return ["No stage's own text shares 13 words in a row with the windows that are asked."]
    return [
        "Windows that share 13 words in a row with the text of the arm's last stage, which had read part "
        f"of the answer: {', '.join(shares)}."
    ]


def _units(sweep: SweepRecord) -> list[str]:
    units = {point.unit for line in lines(sweep) for point in line.points}
    if len(units) < 2:
        return []
    return [
        f"Stages are scored in different units ({', '.join(sorted(units))}), which are never on one axis and "
        "between which there is no change to tell."
    ]


def _values(report: Report) -> Values | None:
    stages = section(report.sweep)
    return None if stages is None else {"stages": stages}


def _markdown(report: Report, values: Values) -> Iterator[str]:
    content: Stages = values["stages"]
    yield "## Stages"
    yield escaped(ASKED)
    yield markdown_table(content.grid)
    yield listed(map(escaped, content.remarks))


SECTION = Section("stages", "Stages", _values, _markdown)
