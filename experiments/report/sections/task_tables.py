"""Tasks on the page: one table of all, then each by itself, with its assay and what was cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from experiments.evidence.metrics import METRICS, Metric
from experiments.report.grid import Cell, Grid
from experiments.report.markup import escaped, listed
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section
from experiments.report.sections.tasks import (
    Asked,
    Assay,
    Number,
    Result,
    Variant,
    asked,
    assay,
    baselines,
    chosen_number,
    key,
    number,
    variants,
)
from experiments.report.sections.variant import words
from experiments.runs.reading import SweepRecord

GLANCE = "Tasks at a glance"


@dataclass(frozen=True)
class OneTask:
    """title: the task and how it was asked; remarks: sentences under its table."""

    title: str
    grid: Grid
    remarks: list[str]


@dataclass(frozen=True)
class Tasks:
    """not_asked: sentences on tasks that a run could not answer."""

    glance: Grid
    tasks: list[OneTask]
    not_asked: list[str]


def section(sweep: SweepRecord) -> Tasks | None:
    """None if no run was asked any task."""
    found, refused = asked(sweep), not_asked(sweep)
    if not found and not refused:
        return None
    tasks = [OneTask(of.title, table(of), remarks(of)) for of in found]
    return Tasks(glance(sweep, found), tasks, refused)


def not_asked(sweep: SweepRecord) -> list[str]:
    """Tasks that a run could not answer, and why; alike reasons once."""
    told: dict[str, list[str]] = {}
    for run in sweep.done:
        for task, why in (run.ask("not_asked") or {}).items():
            told.setdefault(f"{run.arm} was not asked {task}: {why}", []).append(str(run.seed))
    return [f"{what} (seed {', '.join(seeds)})" for what, seeds in told.items()]


def glance(sweep: SweepRecord, found: list[Asked]) -> Grid:
    """A task a row: its primary metric for every arm as validation chose, the best baseline, the assay."""
    arms = [arm for arm in sweep.arms if any(arm in of.arms for of in found)]
    # What holds of all arms stands first, where a narrow window shows it.
    heads = [Cell("task"), Cell("assay"), Cell("best baseline"), *map(Cell, arms)]
    rows = []
    for of in found:
        small = f"{of.metric.title}, {of.metric.unit}, {of.metric.better} is better"
        apart = f"; runs differ in {', '.join(of.differing)}: not comparable" if of.differing else ""
        name = Cell(of.title, small + apart, "bad" if apart else "")
        rows.append([name, _assayed(of), _best_baseline(of), *(_chosen(of, arm) for arm in arms)])
    return Grid(GLANCE, heads, rows)


def _chosen(of: Asked, arm: str) -> Cell:
    results = of.of(arm)
    if not results:
        return Cell("not asked", kind="none")
    found = chosen_number(results, of.metric.name)
    return Cell("none", kind="none") if found is None else _cell(of.metric, found)


def _best_baseline(of: Asked) -> Cell:
    there = [
        (one["metrics"][of.metric.name]["value"], words(one["variant"]))
        for _, one in baselines(of)
        if of.metric.name in one["metrics"] and one["variant"].get("part", "test") == "test"
    ]
    if not there:
        return Cell("none", kind="none")
    value, name = (max if of.metric.better == "higher" else min)(there)
    return Cell(of.metric.text(value), name.partition(",")[0])


def _assayed(of: Asked) -> Cell:
    found = assay(of)
    if found is None:
        return Cell("none", kind="none")
    return Cell(
        "passes" if found.passes else "fails", _difference(of, found), "good" if found.passes else "bad"
    )


def _difference(of: Asked, found: Assay) -> str:
    low, high = of.metric.text(found.low), of.metric.text(found.high)
    return f"{found.difference:+.{of.metric.decimals}f}, {low} to {high}"


def table(of: Asked) -> Grid:
    """An outcome a row, arm by arm; baselines last."""
    names = list(
        dict.fromkeys(name for result in of.results for one in result.outcomes for name in one["metrics"])
    )
    metrics = [METRICS[name] for name in names]
    heads = [
        Cell("arm"),
        Cell("asked"),
        *(Cell(each.title, f"{each.unit}, {each.better} is better") for each in metrics),
    ]
    rows, plain = [], {variant for variant, _ in baselines(of)}
    for arm in of.arms:
        main = [key(result.chosen["variant"]) for result in of.of(arm)]
        for variant in variants(of.of(arm)):
            if variant in plain:
                continue
            chosen = (
                _times_chosen(main.count(variant), len(main)) if of.mode in ("finetuned", "frozen") else ""
            )
            asked_as = Cell(words(dict(variant)), chosen, "prose")
            rows.append([Cell(arm, arm=True), asked_as, *_cells(of.of(arm), variant, metrics)])
    for variant, _ in baselines(of):
        told = Cell(words(dict(variant)), kind="prose")
        rows.append([Cell("baseline"), told, *_cells(of.results[:1], variant, metrics)])
    return Grid(of.title, heads, rows)


def _cells(results: list[Result], variant: Variant, metrics: list[Metric]) -> list[Cell]:
    return [_cell(metric, number(results, variant, metric.name)) for metric in metrics]


def _times_chosen(times: int, seeds: int) -> str:
    if not times:
        return ""
    return "chosen on validation" + (f", {times} of {seeds} seeds" if seeds > 1 else "")


def _cell(metric: Metric, found: Number | None) -> Cell:
    if found is None:
        return Cell("")
    if found.low is None or found.high is None:
        return Cell(metric.text(found.value), kind="value")
    return Cell(metric.text(found.value), f"{metric.text(found.low)} to {metric.text(found.high)}", "value")


def remarks(of: Asked) -> list[str]:
    """How many items, what was cut, what was decided, and what the assay says."""
    first, told = of.results[0].content, []
    counts = {
        part: first["data"][part] for part in ("train", "validation", "test", "apart") if first["data"][part]
    }
    told.append("Items: " + ", ".join(f"{count:,} {part}" for part, count in counts.items()) + ".")
    if of.differing:
        told.append(f"Runs differ in {', '.join(of.differing)}: their numbers cannot be compared.")
    told += [f"{note[:1].upper()}{note[1:]}." for note in first["data"]["notes"]]
    for arm in of.arms:
        cut = {part: n for part, n in of.of(arm)[0].content["cut"].items() if part != "policy" and n}
        if cut:
            parts = ", ".join(f"{n:,} of {part}" for part, n in cut.items())
            told.append(f"{arm}: cut, {first['cut']['policy']}: {parts}.")
    diverged = sum(
        trial.get("diverged", False) for result in of.results for trial in result.content["trials"]
    )
    if diverged:
        told.append(f"{diverged} finetunings diverged; they count and were not repeated.")
    found = assay(of)
    if found is not None:
        verdict = "beat" if found.passes else "do not beat"
        seeds = f"{found.seeds} pretraining seed{'s' if found.seeds > 1 else ''}"
        told.append(
            f"Assay: pretrained arms together {verdict} the same models from scratch: "
            f"{_difference(of, found)} ({of.metric.unit}), over {found.items:,} items and {seeds}."
        )
    return told


def _markdown(report: Report) -> Iterator[str]:
    told = section(report.sweep)
    assert told is not None, "shown only if a task was asked"
    yield "## Tasks"
    yield markdown_table(told.glance)
    if told.not_asked:
        yield listed(map(escaped, told.not_asked))
    for one in told.tasks:
        yield f"### {escaped(one.title)}"
        yield markdown_table(one.grid)
        yield listed(map(escaped, one.remarks))


def _html(report: Report) -> dict[str, Any]:
    return {"tasks": section(report.sweep)}


SECTION = Section("tasks", "Tasks", _html, _markdown, shown=lambda report: section(report.sweep) is not None)
