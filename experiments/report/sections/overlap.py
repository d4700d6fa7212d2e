"""How much of the tasks' text stands in the training text, measured by shared 13-grams."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.report.grid import Grid
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord


def grid(sweep: SweepRecord) -> Grid | None:
    """One row for each task, or several if arms differ; None if no run measured it."""
    arms_by_row: dict[tuple[str, ...], list[str]] = {}
    for run in sweep.done:
        for task, overlap in (run.ask("overlap") or {}).items():
            row = (
                task,
                _share(overlap["items"]),
                _share(overlap["grams"]),
                f"{overlap['measured']:,}",
                f"{overlap['short']:,}",
            )
            arms_by_row.setdefault(row, []).append(run.arm)
    if not arms_by_row:
        return None
    measured = {run.arm for run in sweep.done if run.ask("overlap")}
    rows = [
        [*row, "all" if set(arms) == measured else ", ".join(dict.fromkeys(arms))]
        for row, arms in arms_by_row.items()
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


def _values(report: Report) -> Values | None:
    shared = grid(report.sweep)
    return None if shared is None else {"overlap": shared}


def _markdown(report: Report, values: Values) -> Iterator[str]:
    yield "## Overlap of tasks and training text"
    yield markdown_table(values["overlap"])


SECTION = Section("overlap", "Overlap of texts", _values, _markdown)
