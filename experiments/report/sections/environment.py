"""How to rebuild the page, and the versions and the machine that the runs depended on."""

from __future__ import annotations

import shlex
from typing import Any

from experiments.recipe.config import flatten
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section
from experiments.runs.reading import SweepRecord


def environments(sweep: SweepRecord) -> list[tuple[str, str]]:
    """What the runs depended on, by key; where runs differ, each value with the arms that had it."""
    values: dict[str, dict[str, list[str]]] = {}
    for run in sweep.runs:
        told = {key: value for key, value in run.environment.items() if key != "trained_before"}
        for key, value in flatten(told).items():
            values.setdefault(key, {}).setdefault(str(value), []).append(f"{run.arm} seed {run.seed}")
    return [
        (
            key,
            next(iter(found))
            if len(found) == 1
            else "; ".join(f"{v} ({', '.join(who)})" for v, who in found.items()),
        )
        for key, found in values.items()
        if set(found) - {"{}", "None"}
    ]


def grid(sweep: SweepRecord) -> Grid:
    rows = [[key, Cell(value, kind="prose")] for key, value in environments(sweep)]
    return Grid.of("Versions and machine", ["what", "value"], rows)


def _html(report: Report) -> dict[str, Any]:
    command = shlex.join(["pentarch", "report", str(report.sweep.folder)])
    return {"command": command, "environment": grid(report.sweep)}


SECTION = Section("environment", "Rebuild", _html)
