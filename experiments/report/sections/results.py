"""The results: every arm by every metric with its spread over seeds, and baselines without pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from experiments.evidence.results import (
    ANCHORS,
    NLL,
    ORDER_FIRST,
    ORDER_MEAN,
    PARTY,
    PLL,
    Metric,
    Spread,
    spread,
)
from experiments.report.figures import curves as figures
from experiments.report.grid import Cell, Grid
from experiments.report.markup import table
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord

NO_LANGUAGE_MODEL = "no language model"
# Baselines that are shares: name, metric, and the two keys of evaluation.json.
SHARES = (
    ("majority", PARTY, "party", "majority"),
    ("majority", ORDER_MEAN, "order", "majority"),
    ("majority", ORDER_FIRST, "order", "majority"),
    ("TF-IDF + logistic", PARTY, "party", "tfidf_logistic"),
    ("input embeddings", ORDER_MEAN, "order", "input_embeddings"),
)


@dataclass(frozen=True)
class Row:
    """An arm's row in the table of results. A cell is a spread, or the reason why there is none."""

    arm: str
    cells: list[Spread | str]


def result_rows(sweep: SweepRecord, results: pd.DataFrame, shown: list[Metric]) -> list[Row]:
    """One row for each arm, in the declared order; arms are never sorted by their results."""
    return [Row(arm, [_cell(sweep, results, arm, metric) for metric in shown]) for arm in sweep.arms]


def _cell(sweep: SweepRecord, results: pd.DataFrame, arm: str, metric: Metric) -> Spread | str:
    value = spread(results, arm, metric)
    if value is not None:
        return value
    if metric in (NLL, PLL) and arm in without_language_model(sweep):
        return NO_LANGUAGE_MODEL
    if metric == NLL and spread(results, arm, PLL):
        return "has none"
    if metric == PLL and spread(results, arm, NLL):
        return "not asked"
    return "not measured"


def without_language_model(sweep: SweepRecord) -> list[str]:
    """The evaluated arms whose objective does not train the family to predict tokens."""
    none = {run.arm for run in sweep.done if run.ask("language_model") is False}
    return [arm for arm in sweep.arms if arm in none]


def baselines(sweep: SweepRecord, results: pd.DataFrame) -> dict[str, dict[Metric, list[float]]]:
    """Baselines without pretraining, by name and metric: one value, or the ends of a range if runs differ."""
    table: dict[str, dict[Metric, list[float]]] = {}

    def put(name: str, metric: Metric, values: list[float]) -> None:
        if values:
            ends = dict.fromkeys((metric.text(min(values)), metric.text(max(values))))
            table.setdefault(name, {})[metric] = [float(end) for end in ends]

    for metric, anchor in ANCHORS.items():
        put("trigram", metric, results[results["metric"] == anchor.name]["value"].tolist())
    for metric, unit in ((NLL, "nll"), (PLL, "pll")):
        runs_of_unit = [run for run in sweep.done if run.ask("likelihood", "unit") == unit]
        put("uniform", metric, [run.ask("likelihood", "uniform_bits_per_byte") for run in runs_of_unit])
    for name, metric, task, field in SHARES:
        values = [run.ask(task, field) for run in sweep.done]
        put(name, metric, [100 * value for value in values if value is not None])
    return table


def grid(report: Report) -> Grid:
    """One row for each arm, then one for each baseline."""
    heads = [
        Cell("arm"),
        *(Cell(metric.title, f"{metric.unit}, {metric.better} is better") for metric in report.metrics),
    ]
    rows: list[list[Cell]] = []
    for row in result_rows(report.sweep, report.results, report.metrics):
        cells = [
            Cell(cell, kind="none") if isinstance(cell, str) else Cell(cell.text, cell.interval, "value")
            for cell in row.cells
        ]
        rows.append([Cell(row.arm, arm=True), *cells])
    for name, values in baselines(report.sweep, report.results).items():
        texts = (
            " to ".join(metric.text(value) for value in values.get(metric, [])) for metric in report.metrics
        )
        rows.append([Cell(name), *map(Cell, texts)])
    return Grid("Results", heads, rows)


def _values(report: Report) -> Values:
    sweep, results, metrics = report.sweep, report.results, report.metrics
    return {
        "metrics": metrics,
        "rows": result_rows(sweep, results, metrics),
        "without": without_language_model(sweep),
        "baselines": baselines(sweep, results),
        "dots": [Markup(svg) for svg in _dots(sweep, results, metrics)],
    }


def _markdown(report: Report, values: Values) -> Iterator[str]:
    yield "## Results"
    yield table(grid(report)) if report.metrics else "No finished run has been scored."


def _dots(sweep: SweepRecord, results: pd.DataFrame, metrics: list[Metric]) -> list[str]:
    baseline_values = baselines(sweep, results)
    figures_of_metrics = []
    for metric in metrics:
        spreads = {arm: value for arm in sweep.arms if (value := spread(results, arm, metric))}
        lines = [
            (name, value)
            for name, values in baseline_values.items()
            if name != "uniform"  # so far off that the arms would coincide
            for value in values.get(metric, [])
        ]
        figures_of_metrics.append(figures.dots(metric, spreads, lines, sweep.arms))
    return figures_of_metrics


SECTION = Section("results", "Results", _values, _markdown)
