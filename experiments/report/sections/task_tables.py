"""Tasks on the page: a table of all tasks, then a table for each, with its assay and what was cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.evidence.metrics import METRICS, Metric
from experiments.report.grid import Cell, Grid
from experiments.report.markup import escaped, listed
from experiments.report.markup import table as markdown_table
from experiments.report.section import Report, Section, Values
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
    """A task in one mode. title: the task and its mode. remarks: sentences below its table."""

    title: str
    grid: Grid
    remarks: list[str]


@dataclass(frozen=True)
class Tasks:
    """The section. not_asked: sentences on tasks that a run could not be evaluated on."""

    glance: Grid
    tasks: list[OneTask]
    not_asked: list[str]


def section(sweep: SweepRecord) -> Tasks | None:
    """The section; None if no run was evaluated on a task."""
    results, not_asked_tasks = asked(sweep), not_asked(sweep)
    if not results and not not_asked_tasks:
        return None
    tasks = [OneTask(task.title, table(task), remarks(task)) for task in results]
    return Tasks(glance(sweep, results), tasks, not_asked_tasks)


def not_asked(sweep: SweepRecord) -> list[str]:
    """A sentence for each task that a run could not be evaluated on, with the reason; seeds are joined."""
    seeds_by_text: dict[str, list[str]] = {}
    for run in sweep.done:
        for task, why in (run.ask("not_asked") or {}).items():
            seeds_by_text.setdefault(f"{run.arm} was not asked {task}: {why}", []).append(str(run.seed))
    return [f"{text} (seed {', '.join(seeds)})" for text, seeds in seeds_by_text.items()]


def glance(sweep: SweepRecord, tasks: list[Asked]) -> Grid:
    """One row for each task: assay, best baseline, and each arm's primary metric, as validation chose."""
    arms = [arm for arm in sweep.arms if any(arm in task.arms for task in tasks)]
    # Columns on all arms come first, so that a narrow window shows them.
    heads = [Cell("task"), Cell("assay"), Cell("best baseline"), *map(Cell, arms)]
    rows = []
    for task in tasks:
        small = f"{task.metric.title}, {task.metric.unit}, {task.metric.better} is better"
        apart = f"; runs differ in {', '.join(task.differing)}: not comparable" if task.differing else ""
        name = Cell(task.title, small + apart, "bad" if apart else "")
        rows.append([name, _assayed(task), _best_baseline(task), *(_chosen(task, arm) for arm in arms)])
    return Grid(GLANCE, heads, rows)


def _chosen(task: Asked, arm: str) -> Cell:
    results = task.of(arm)
    if not results:
        return Cell("not asked", kind="none")
    chosen = chosen_number(results, task.metric.name)
    return Cell("none", kind="none") if chosen is None else _cell(task.metric, chosen)


def _best_baseline(task: Asked) -> Cell:
    values = [
        (outcome["metrics"][task.metric.name]["value"], words(outcome["variant"]))
        for _, outcome in baselines(task)
        if task.metric.name in outcome["metrics"] and outcome["variant"].get("part", "test") == "test"
    ]
    if not values:
        return Cell("none", kind="none")
    value, name = (max if task.metric.better == "higher" else min)(values)
    return Cell(task.metric.text(value), name.partition(",")[0])


def _assayed(task: Asked) -> Cell:
    task_assay = assay(task)
    if task_assay is None:
        return Cell("none", kind="none")
    return Cell(
        "passes" if task_assay.passes else "fails",
        _difference(task, task_assay),
        "good" if task_assay.passes else "bad",
    )


def _difference(task: Asked, task_assay: Assay) -> str:
    low, high = task.metric.text(task_assay.low), task.metric.text(task_assay.high)
    return f"{task_assay.difference:+.{task.metric.decimals}f}, {low} to {high}"


def table(task: Asked) -> Grid:
    """One row for each outcome, arm by arm; baselines come last."""
    names = list(
        dict.fromkeys(name for result in task.results for one in result.outcomes for name in one["metrics"])
    )
    metrics = [METRICS[name] for name in names]
    heads = [
        Cell("arm"),
        Cell("asked"),
        *(Cell(each.title, f"{each.unit}, {each.better} is better") for each in metrics),
    ]
    rows, plain = [], {variant for variant, _ in baselines(task)}
    for arm in task.arms:
        main = [key(result.chosen["variant"]) for result in task.of(arm)]
        for variant in variants(task.of(arm)):
            if variant in plain:
                continue
            chosen = (
                _times_chosen(main.count(variant), len(main)) if task.mode in ("finetuned", "frozen") else ""
            )
            asked_as = Cell(words(dict(variant)), chosen, "prose")
            rows.append([Cell(arm, arm=True), asked_as, *_cells(task.of(arm), variant, metrics)])
    for variant, _ in baselines(task):
        label = Cell(words(dict(variant)), kind="prose")
        rows.append([Cell("baseline"), label, *_cells(task.results[:1], variant, metrics)])
    return Grid(task.title, heads, rows)


def _cells(results: list[Result], variant: Variant, metrics: list[Metric]) -> list[Cell]:
    return [_cell(metric, number(results, variant, metric.name)) for metric in metrics]


def _times_chosen(times: int, seeds: int) -> str:
    if not times:
        return ""
    return "chosen on validation" + (f", {times} of {seeds} seeds" if seeds > 1 else "")


def _cell(metric: Metric, value: Number | None) -> Cell:
    if value is None:
        return Cell("")
    if value.low is None or value.high is None:
        return Cell(metric.text(value.value), kind="value")
    return Cell(metric.text(value.value), f"{metric.text(value.low)} to {metric.text(value.high)}", "value")


def remarks(task: Asked) -> list[str]:
    """Sentences on the items, notes on the data, what was cut, diverged finetunings, and the assay."""
    first, sentences = task.results[0].content, []
    counts = {
        part: first["data"][part] for part in ("train", "validation", "test", "apart") if first["data"][part]
    }
    sentences.append("Items: " + ", ".join(f"{count:,} {part}" for part, count in counts.items()) + ".")
    if task.differing:
        sentences.append(f"Runs differ in {', '.join(task.differing)}: their numbers cannot be compared.")
    sentences += [f"{note[:1].upper()}{note[1:]}." for note in first["data"]["notes"]]
    for arm in task.arms:
        cut = {part: n for part, n in task.of(arm)[0].content["cut"].items() if part != "policy" and n}
        if cut:
            parts = ", ".join(f"{n:,} of {part}" for part, n in cut.items())
            sentences.append(f"{arm}: cut, {first['cut']['policy']}: {parts}.")
    diverged = sum(
        trial.get("diverged", False) for result in task.results for trial in result.content["trials"]
    )
    if diverged:
        sentences.append(f"{diverged} finetunings diverged; they count and were not repeated.")
    task_assay = assay(task)
    if task_assay is not None:
        verdict = "beat" if task_assay.passes else "do not beat"
        seeds = f"{task_assay.seeds} pretraining seed{'s' if task_assay.seeds > 1 else ''}"
        sentences.append(
            f"Assay: pretrained arms together {verdict} the same models from scratch: "
            f"{_difference(task, task_assay)} ({task.metric.unit}), over {task_assay.items:,} items and "
            f"{seeds}."
        )
    return sentences


def _values(report: Report) -> Values | None:
    tasks = section(report.sweep)
    return None if tasks is None else {"tasks": tasks}


def _markdown(report: Report, values: Values) -> Iterator[str]:
    content: Tasks = values["tasks"]
    yield "## Tasks"
    yield markdown_table(content.glance)
    if content.not_asked:
        yield listed(map(escaped, content.not_asked))
    for one in content.tasks:
        yield f"### {escaped(one.title)}"
        yield markdown_table(one.grid)
        yield listed(map(escaped, one.remarks))


SECTION = Section("tasks", "Tasks", _values, _markdown)
