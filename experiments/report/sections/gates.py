"""The gates: each arm beside a trigram and a uniform guess on the same windows."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from experiments.evidence.results import ANCHORS, PLL, spread
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord


@dataclass(frozen=True)
class Gate:
    """An arm's result beside the trigram anchor and the uniform ceiling, in bits per byte.

    behind: how many of its seeds ended above the anchor.
    """

    arm: str
    unit: str
    value: str
    trigram: str
    uniform: str
    behind: int
    seeds: int
    windows: int


def gates(sweep: SweepRecord, results: pd.DataFrame) -> list[Gate]:
    gates_of_arms = []
    for arm in sweep.arms:
        for metric, anchor in ANCHORS.items():
            reached, trigram = spread(results, arm, metric), spread(results, arm, anchor)
            if reached is None or trigram is None:
                continue
            uniform = [run.ask("likelihood", "uniform_bits_per_byte") for run in sweep.of(arm) if run.done]
            gates_of_arms.append(
                Gate(
                    arm,
                    "pseudo-NLL" if metric == PLL else "NLL",
                    reached.text,
                    trigram.text,
                    next((metric.text(value) for value in uniform if value is not None), "not measured"),
                    sum(value > trigram.values[seed] for seed, value in reached.values.items()),
                    len(reached.values),
                    reached.items,
                )
            )
    return gates_of_arms


def verdicts(sweep: SweepRecord) -> list[str]:
    """The sentences of the gates before training, without repetition; unfinished runs have them too."""
    return list(dict.fromkeys(text for run in sweep.runs for text in run.ask("gates", "verdicts") or []))


def grid(gates: list[Gate]) -> Grid:
    heads = [
        "arm",
        "unit",
        Cell("reached", "bits/byte"),
        Cell("trigram anchor", "bits/byte, same windows"),
        Cell("uniform ceiling", "bits/byte"),
        "windows",
        "gate",
    ]
    rows = [
        [
            Cell(gate.arm, arm=True),
            gate.unit,
            gate.value,
            gate.trigram,
            gate.uniform,
            str(gate.windows),
            _verdict(gate),
        ]
        for gate in gates
    ]
    return Grid.of("Gates of every arm", heads, rows)


def _verdict(gate: Gate) -> Cell:
    if not gate.behind:
        return Cell("below the anchor", kind="prose good")
    seeds = f" in {gate.behind} of {gate.seeds} seeds" if gate.seeds > 1 else ""
    return Cell(f"undertrained{seeds}", kind="prose bad")


def _values(report: Report) -> Values:
    arms = gates(report.sweep, report.results)
    return {"gates": grid(arms) if arms else None, "verdicts": verdicts(report.sweep)}


SECTION = Section("gates", "Gates", _values)
