"""How much of the tasks' text the models had read: 13-grams that training text and task share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.report.grid import Grid
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section
from experiments.runs.reading import SweepRecord


def grid(sweep: SweepRecord) -> Grid | None:
    """One row a task, or several where arms differ; None if no run measured it."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in sweep.done:
        for task, of in (run.ask("overlap") or {}).items():
            row = task, _share(of["items"]), _share(of["grams"]), f"{of['measured']:,}", f"{of['short']:,}"
            found.setdefault(row, []).append(run.arm)
    if not found:
        return None
    measured = {run.arm for run in sweep.done if run.ask("overlap")}
    rows = [
        [*row, "all" if set(arms) == measured else ", ".join(dict.fromkeys(arms))]
        for row, arms in found.items()
    ]
    heads = [
        "task",
        "items that share a 13-gram",
        "13-grams shared",
        "items long enough",
        "too short",
        "arms",
    ]
    return Grid.of("Overlap of tasks with training text", heads, rows)


def _share(value: float | None) -> str:
    return "no item is long enough" if value is None else f"{value:.2%}"


def _html(report: Report) -> dict[str, Any]:
    return {"overlap": grid(report.sweep)}


def _markdown(report: Report) -> Iterator[str]:
    shared = grid(report.sweep)
    assert shared is not None, "shown only if some run measured it"
    yield "## Overlap of tasks and training text"
    yield markdown_table(shared)


SECTION = Section(
    "overlap",
    "Overlap of texts",
    _html,
    _markdown,
    shown=lambda report: grid(report.sweep) is not None,
)
