"""The command that rebuilds the page, and the versions and machines of the runs."""

from __future__ import annotations

import shlex

from experiments.recipe.config import flatten
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord


def environments(sweep: SweepRecord) -> list[tuple[str, str]]:
    """Versions and machines by key; where runs differ, each value with the runs that had it."""
    values: dict[str, dict[str, list[str]]] = {}
    for run in sweep.runs:
        environment = {key: value for key, value in run.environment.items() if key != "trained_before"}
        for key, value in flatten(environment).items():
            values.setdefault(key, {}).setdefault(str(value), []).append(f"{run.arm} seed {run.seed}")
    return [
        (
            key,
            next(iter(arms_by_value))
            if len(arms_by_value) == 1
            else "; ".join(f"{v} ({', '.join(arms)})" for v, arms in arms_by_value.items()),
        )
        for key, arms_by_value in values.items()
        if set(arms_by_value) - {"{}", "None"}
    ]


def grid(sweep: SweepRecord) -> Grid:
    rows = [[key, Cell(value, kind="prose")] for key, value in environments(sweep)]
    return Grid.of("Versions and machine", ["what", "value"], rows)


def _values(report: Report) -> Values:
    command = shlex.join(["pentarch", "report", str(report.sweep.folder)])
    return {"command": command, "environment": grid(report.sweep)}


SECTION = Section("environment", "Rebuild", _values)
