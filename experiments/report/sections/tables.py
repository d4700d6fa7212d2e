"""The page's tables: results and baselines, gates, flow checks, every run, versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.evidence.audit import amount
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
from experiments.recipe.config import flatten
from experiments.runs.reading import RunRecord, SweepRecord

NO_LANGUAGE_MODEL = "no language model"
# Baselines that are shares: their name, the metric they stand beside, and where evaluation.json has them.
SHARES = (
    ("majority", PARTY, "party", "majority"),
    ("majority", ORDER_MEAN, "order", "majority"),
    ("majority", ORDER_FIRST, "order", "majority"),
    ("TF-IDF + logistic", PARTY, "party", "tfidf_logistic"),
    ("input embeddings", ORDER_MEAN, "order", "input_embeddings"),
)


@dataclass(frozen=True)
class Row:
    """An arm's line in the table of results: a spread, or why there is none."""

    arm: str
    cells: list[Spread | str]


def result_rows(sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric]) -> list[Row]:
    """Arms in their declared order, never sorted by what they reached."""
    return [Row(arm, [_cell(sweep, found, arm, metric) for metric in shown]) for arm in sweep.arms]


def _cell(sweep: SweepRecord, found: pd.DataFrame, arm: str, metric: Metric) -> Spread | str:
    value = spread(found, arm, metric)
    if value is not None:
        return value
    if metric in (NLL, PLL) and arm in without_language_model(sweep):
        return NO_LANGUAGE_MODEL
    if metric == NLL and spread(found, arm, PLL):
        return "has none"
    if metric == PLL and spread(found, arm, NLL):
        return "not asked"
    return "not measured"


def without_language_model(sweep: SweepRecord) -> list[str]:
    """The arms that were evaluated and whose objective does not train a family to predict tokens."""
    none = {run.arm for run in sweep.done if run.ask("language_model") is False}
    return [arm for arm in sweep.arms if arm in none]


def baselines(sweep: SweepRecord, found: pd.DataFrame) -> dict[str, dict[Metric, list[float]]]:
    """What needs no pretraining, by name and metric: one value, or the ends of a range where runs differ."""
    table: dict[str, dict[Metric, list[float]]] = {}

    def put(name: str, metric: Metric, values: list[float]) -> None:
        if values:
            ends = dict.fromkeys((metric.text(min(values)), metric.text(max(values))))
            table.setdefault(name, {})[metric] = [float(end) for end in ends]

    for metric, anchor in ANCHORS.items():
        put("trigram", metric, found[found["metric"] == anchor.name]["value"].tolist())
    for metric, unit in ((NLL, "nll"), (PLL, "pll")):
        asked = [run for run in sweep.done if run.ask("likelihood", "unit") == unit]
        put("uniform", metric, [run.ask("likelihood", "uniform_bits_per_byte") for run in asked])
    for name, metric, task, field in SHARES:
        values = [run.ask(task, field) for run in sweep.done]
        put(name, metric, [100 * value for value in values if value is not None])
    return table


@dataclass(frozen=True)
class Gate:
    """Where an arm ended between the trigram anchor and the uniform ceiling, in bits per byte."""

    arm: str
    unit: str
    value: str
    trigram: str
    uniform: str
    behind: int
    seeds: int
    windows: int


def gates(sweep: SweepRecord, found: pd.DataFrame) -> list[Gate]:
    found_gates = []
    for arm in sweep.arms:
        for metric, anchor in ANCHORS.items():
            here, there = spread(found, arm, metric), spread(found, arm, anchor)
            if here is None or there is None:
                continue
            uniform = [run.ask("likelihood", "uniform_bits_per_byte") for run in sweep.of(arm) if run.done]
            found_gates.append(
                Gate(
                    arm,
                    "pseudo-NLL" if metric == PLL else "NLL",
                    here.text,
                    there.text,
                    next((metric.text(value) for value in uniform if value is not None), "not measured"),
                    sum(value > there.values[seed] for seed, value in here.values.items()),
                    len(here.values),
                    here.items,
                )
            )
    return found_gates


def flows(sweep: SweepRecord) -> list[tuple[str, str, bool, str]]:
    """Outcomes of the flow check: arm, the seeds that had this outcome, whether it is good, its words."""
    outcomes: dict[tuple[str, bool, str], list[str]] = {}
    for run in sweep.done:
        if run.ask("flow") is not None:
            outcome = run.arm, bool(run.ask("flow", "ok")), str(run.ask("flow", "text"))
            outcomes.setdefault(outcome, []).append(str(run.seed))
    return [(arm, ", ".join(seeds), ok, text) for (arm, ok, text), seeds in outcomes.items()]


def verdicts(sweep: SweepRecord) -> list[str]:
    """The sentences of the gates; those before training, so of unfinished runs too. Alike ones once."""
    return list(dict.fromkeys(text for run in sweep.runs for text in run.ask("gates", "verdicts") or []))


def every_run(
    sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric]
) -> list[tuple[RunRecord, list[str]]]:
    """Each run with its last loss and every result, as text."""
    rows = []
    spreads = {(arm, metric): spread(found, arm, metric) for arm in sweep.arms for metric in shown}
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


def environments(sweep: SweepRecord) -> list[tuple[str, str]]:
    """What the runs depended on, by key; where runs differ, each value with the arms that had it."""
    values: dict[str, dict[str, list[str]]] = {}
    for run in sweep.runs:
        told = {key: value for key, value in run.environment.items() if key != "trained_before"}
        for key, value in flatten(told).items():
            values.setdefault(key, {}).setdefault(str(value), []).append(f"{run.arm} seed {run.seed}")
    return [
        (
            key,
            next(iter(found))
            if len(found) == 1
            else "; ".join(f"{v} ({', '.join(who)})" for v, who in found.items()),
        )
        for key, found in values.items()
        if set(found) - {"{}", "None"}
    ]
