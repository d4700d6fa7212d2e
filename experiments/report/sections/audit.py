"""The budget audit: declared beside actual amounts, and the settings that differ between arms."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.evidence import audit
from experiments.report.grid import Cell, Grid
from experiments.report.markup import table
from experiments.report.section import Report, Section, Values
from experiments.report.sections import stages
from experiments.runs.reading import SweepRecord

MOST_COLUMNS = 12  # of settings that differ; with more settings the table has a row for each arm


def grid(sweep: SweepRecord) -> Grid:
    """Actual and declared amounts, one arm in each row."""
    heads = ["arm", *(Cell(name, unit) for name, unit in audit.ROWS)]
    rows = [
        [
            Cell(line.arm, f"{line.family}, {line.objective}", arm=True),
            *(Cell(cell.done, "; ".join(filter(None, (cell.declared, cell.flag)))) for cell in line.cells),
        ]
        for line in audit.lines(sweep)
    ]
    return Grid.of("Budget audit", heads, rows)


def differing(sweep: SweepRecord) -> Grid | None:
    """The settings that differ between arms; None if none does.

    One setting in each row. With more than MOST_COLUMNS, one arm in each row with its own settings.
    """
    settings = audit.differing(sweep)
    if not settings:
        return None
    label = "Settings that differ between arms"
    if len(settings) > MOST_COLUMNS:
        rows = [
            [
                Cell(arm, arm=True),
                Cell(
                    "  ".join(f"{key}={values[arm]}" for key, values in settings.items() if values.get(arm))
                    or "no recipe",
                    kind="prose code",
                ),
            ]
            for arm in sweep.arms
        ]
        return Grid.of(label, ["arm", "settings"], rows)
    heads = ["", *(Cell(arm, arm=True) for arm in sweep.arms)]
    rows = [
        [Cell(key, kind="code"), *(values.get(arm, "no recipe") for arm in sweep.arms)]
        for key, values in settings.items()
    ]
    return Grid.of(label, heads, rows)


def _values(report: Report) -> Values:
    sweep, budget = report.sweep, report.sweep.recipe["budget"]
    return {
        "audit_rows": audit.ROWS,
        "lines": audit.lines(sweep),
        "match": audit.MATCHES[budget["match"]],
        "tolerance": f"{budget['tolerance']:.1%}",
        "stops": audit.stops(sweep),
        "differing": differing(sweep),
        "corpora": audit.corpora(sweep),
        "staged": bool(stages.lines(sweep)),
    }


def _markdown(report: Report, values: Values) -> Iterator[str]:
    yield "## Budget audit"
    yield table(grid(report.sweep))


SECTION = Section("audit", "Budget audit", _values, _markdown)
