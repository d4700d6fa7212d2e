"""The report as Markdown: the page's tables and sentences, without its figures."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from experiments.evidence import audit
from experiments.evidence.results import Metric
from experiments.report.claims import section as claims_section
from experiments.report.claims.claimed import Claimed
from experiments.report.grid import Cell, Grid
from experiments.report.sections import limits, methods, overlap, stages, tables, words
from experiments.report.sections import task_tables as tasks_section
from experiments.report.sections import tuning as tuning_section
from experiments.runs.reading import SweepRecord


def report(sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric], of: Claimed | None) -> str:
    """The whole report; the page's numbers, in the same words."""
    return "\n\n".join(_parts(sweep, found, shown, of)) + "\n"


def _parts(sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric], of: Claimed | None) -> Iterator[str]:
    seeds = of.said.seeds if of else len(sweep.seeds)
    tuning = tuning_section.tried(sweep)
    yield f"# {escaped(sweep.question or sweep.name)}"
    yield escaped(words.can_say(sweep))
    yield f"**Scope.** {escaped(words.scope(sweep, set(found['metric']), seeds))}"
    yield f"**{escaped(words.outcome(sweep))}**"
    if sweep.stories:
        yield _list(f"{arm}, {which}: {story}" for arm, which, story in sweep.stories)
    if of is None:
        yield "**No verdict on which arm is better is printed**, and arms are never ranked. Why:"
        yield _list(limits.no_verdict(sweep, tuning is not None))
    else:
        yield from _claims(sweep, of, seeds)
    if tuning is not None:
        yield "## Tuning"
        yield escaped(f"{tuning_section.rule(tuning)} {tuning_section.cost(tuning, sweep)}")
        yield table(tuning_section.table(tuning))
    yield "## Results"
    yield table(results(sweep, found, shown)) if shown else "No finished run has been scored."
    yield from _stages(sweep)
    yield from _tasks(sweep)
    yield "## Budget audit"
    yield table(audited(sweep))
    shared = overlap.grid(sweep)
    if shared is not None:
        yield "## Overlap of tasks and training text"
        yield table(shared)
    yield "## What is not comparable"
    yield _list(f"**{escaped(name)}** {escaped(why)}" for name, why in words.not_comparable(sweep))
    yield "## Methods"
    for paragraph in methods.paragraphs(sweep, of, tuning):
        yield escaped(paragraph)


def _stages(sweep: SweepRecord) -> Iterator[str]:
    told = stages.section(sweep)
    if told is None:
        return
    yield "## Stages"
    yield escaped(stages.ASKED)
    yield table(told.grid)
    yield _list(map(escaped, told.remarks))


def _tasks(sweep: SweepRecord) -> Iterator[str]:
    told = tasks_section.section(sweep)
    if told is None:
        return
    yield "## Tasks"
    yield table(told.glance)
    if told.not_asked:
        yield _list(map(escaped, told.not_asked))
    for one in told.tasks:
        yield f"### {escaped(one.title)}"
        yield table(one.grid)
        yield _list(map(escaped, one.remarks))


def _claims(sweep: SweepRecord, of: Claimed, seeds: int) -> Iterator[str]:
    told = claims_section.words_of(of)
    yield "## Verdicts"
    yield f"**{escaped(told.headline)}**" + (
        "" if told.failed else f" {escaped(claims_section.VERDICTS_ARE)}"
    )
    lessening = limits.limits(sweep, seeds) + claims_section.limits(of)
    if lessening:
        yield _list(map(escaped, lessening))
    for standing, grid in told.verdicts:
        yield f"### {standing.capitalize()}"
        yield table(grid)
    for claim in told.claims:
        yield f"### {claim.name}. {escaped(claim.statement)}"
        yield f"{claim.verdict.text}: {escaped(claim.verdict.small)}"
        if claim.remarks:
            yield _list(map(escaped, claim.remarks))
        yield table(claim.readings)
        if claim.behind.rows:
            yield table(claim.behind)
    yield "## Controls and assay"
    yield table(told.controls) if told.controls.rows else "No control was asked for."
    if told.assays.rows:
        yield table(told.assays)
    yield "## What was registered"
    yield f"Registered {told.registered_on}."
    yield table(told.registry)
    yield f"Deviations after training began: {'none.' if not told.deviations else ''}"
    if told.deviations:
        yield _list(map(escaped, told.deviations))


def results(sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric]) -> Grid:
    """The page's table of results."""
    heads = [
        Cell("arm"),
        *(Cell(metric.title, f"{metric.unit}, {metric.better} is better") for metric in shown),
    ]
    rows: list[list[Cell]] = []
    for row in tables.result_rows(sweep, found, shown):
        cells = [
            Cell(cell, kind="none") if isinstance(cell, str) else Cell(cell.text, cell.interval, "value")
            for cell in row.cells
        ]
        rows.append([Cell(row.arm, arm=True), *cells])
    for name, values in tables.baselines(sweep, found).items():
        texts = (" to ".join(metric.text(value) for value in values.get(metric, [])) for metric in shown)
        rows.append([Cell(name), *map(Cell, texts)])
    return Grid("Results", heads, rows)


def audited(sweep: SweepRecord) -> Grid:
    """The page's budget audit, an arm a row."""
    heads = ["arm", *(Cell(name, unit) for name, unit in audit.ROWS)]
    rows = [
        [
            Cell(line.arm, f"{line.family}, {line.objective}", arm=True),
            *(Cell(cell.done, "; ".join(filter(None, (cell.declared, cell.flag)))) for cell in line.cells),
        ]
        for line in audit.lines(sweep)
    ]
    return Grid.of("Budget audit", heads, rows)


def table(grid: Grid) -> str:
    """A Markdown table; what is small stands in brackets."""
    lines = [grid.heads, [Cell("---")] * len(grid.heads), *grid.rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(cell: Cell) -> str:
    if cell.text == "---":
        return cell.text
    text = escaped(cell.text)
    return f"{text} ({escaped(cell.small)})" if cell.small else text


def _list(lines: Iterator[str] | list[str] | map[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def escaped(text: str) -> str:
    """Nothing in it that Markdown would take for markup."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|*_`<>#":
        text = text.replace(mark, f"\\{mark}")
    return text
