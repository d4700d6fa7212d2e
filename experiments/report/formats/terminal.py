"""The report's results in the terminal, within 80 columns."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.evidence.results import Metric
from experiments.report.formats import terminal_claims
from experiments.report.formats.audit_table import audit_table
from experiments.report.section import Report
from experiments.report.sections import words
from experiments.report.sections.results import baselines, result_rows
from experiments.runs.reading import SweepRecord

HEADINGS = {
    "nll_bits_per_byte": "bits/byte\nNLL",
    "pll_bits_per_byte": "bits/byte\npseudo-NLL",
    "party_accuracy": "party\n% right",
    "infill_chrf": "infill\nchrF",
    "infill_first_word": "infill\n1st word %",
    "target_nats_per_byte": "target\nnats/byte",
    "order_mean": "order\nmean, %",
    "order_first": "order\nown, %",
}
ABREAST, WIDEST = 5, 10  # metrics of a table, and characters of each, that fit into 80 columns


def show(report: Report) -> None:
    """Prints the audit, the results, the baselines, the verdicts if there are claims, and unfinished runs."""
    sweep, results, claimed, shown = report.sweep, report.results, report.claimed, report.metrics
    console = Console(highlight=False)
    if (audit := audit_table(sweep)) is not None:
        console.print(audit)
    baseline_values = baselines(sweep, results)
    for first in range(0, len(shown), ABREAST):
        console.print(_table(sweep, results, shown[first : first + ABREAST], baseline_values))
    seeds = len({run.seed for run in sweep.done})
    interval = "± is Student's 95% interval over seeds" if seeds > 1 else "one seed: no interval"
    if claimed is not None:
        terminal_claims.show(console, claimed)
    verdicts = "" if claimed is not None else " No verdict is printed;"
    console.print(f"{words.outcome(sweep)}{verdicts} {interval}.", soft_wrap=False)
    for arm, seeds_of_story, story in sweep.stories:
        console.print(f"  {arm}, {seeds_of_story}: {story}", markup=False)


def _table(
    sweep: SweepRecord,
    results: pd.DataFrame,
    shown: list[Metric],
    baseline_values: dict[str, dict[Metric, list[float]]],
) -> Table:
    table = Table(
        title=sweep.name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("arm", overflow="fold", min_width=15)
    for metric in shown:
        table.add_column(HEADINGS[metric.name], justify="right", overflow="fold", max_width=WIDEST)
    for row in result_rows(sweep, results, shown):
        cells = [
            cell if isinstance(cell, str) else _two_lines(cell.text, cell.half_width and cell.interval)
            for cell in row.cells
        ]
        table.add_row(row.arm, *cells)
    for name, values in baseline_values.items():
        if any(metric in values for metric in shown):
            cells = [" to ".join(metric.text(value) for value in values.get(metric, [])) for metric in shown]
            table.add_row(name, *cells, style="dim")
    return table


def _two_lines(value: str, interval: str | float | None) -> str:
    return f"{value}\n{interval}" if interval else value
