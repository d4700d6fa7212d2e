"""Every run: its state, its cost, its last loss and every result."""

from __future__ import annotations

from typing import Any

import pandas as pd

from experiments.evidence.audit import amount
from experiments.evidence.results import Metric, spread
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section
from experiments.runs.reading import RunRecord, SweepRecord


def every_run(
    sweep: SweepRecord, results: pd.DataFrame, shown: list[Metric]
) -> list[tuple[RunRecord, list[str]]]:
    """Each run with its cost, last losses and every result, as text."""
    rows = []
    spreads = {(arm, metric): spread(results, arm, metric) for arm in sweep.arms for metric in shown}
    for run in sweep.runs:
        last: dict[str, Any] = run.metrics[-1] if run.metrics else {}
        validated = [row["validation_loss"] for row in run.metrics if "validation_loss" in row]
        cells = [
            f"{last['step']:,}" if last else "",
            amount(last["flops"]) if last else "",
            f"{last['seconds']:,.0f}" if last else "",
            f"{sum(run.evaluation['seconds'].values()):,.0f}" if run.ask("seconds") else "",
            f"{last['tokens_per_second']:,.0f}" if last else "",
            f"{last['loss']:.3f}" if last else "",
            f"{validated[-1]:.3f}" if validated else "",
        ]
        for metric in shown:
            value = spreads[run.arm, metric]
            cells.append(metric.text(value.values[run.seed]) if value and run.seed in value.values else "")
        rows.append((run, cells))
    return rows


def grid(report: Report) -> Grid:
    heads = [
        "arm",
        "seed",
        "state",
        "steps",
        Cell("FLOPs", "training"),
        Cell("seconds", "training"),
        Cell("seconds", "evaluation"),
        "tokens/s",
        Cell("last loss", "nats a target"),
        Cell("validation", "nats a target"),
        *(Cell(metric.title, metric.unit) for metric in report.metrics),
    ]
    rows = [
        [Cell(run.arm, arm=True), str(run.seed), Cell(run.state, kind="text"), *cells]
        for run, cells in every_run(report.sweep, report.results, report.metrics)
    ]
    return Grid.of("Every run", heads, rows)


SECTION = Section("runs", "Every run", lambda report: {"runs": grid(report)})
