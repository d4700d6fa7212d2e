"""Computes every result from the rows of `scores/*.parquet`, and its spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evidence.stats.student import half_width
from experiments.runs.reading import RunRecord, SweepRecord
from experiments.storage.tables import read_table

COLUMNS = ["arm", "seed", "metric", "value", "unit", "items"]


@dataclass(frozen=True)
class Metric:
    """A result of a run.

    name      in results.parquet
    title     on the report's page
    better    "lower" or "higher"
    decimals  with which it is printed
    table     the table in scores/ that it is computed from
    of        rows of the table -> value, or None if the rows do not hold it
    """

    name: str
    title: str
    unit: str
    better: str
    decimals: int
    table: str
    of: Callable[[pd.DataFrame], float | None]

    def text(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"


def _floats(rows: pd.DataFrame, column: str) -> np.ndarray:
    return np.asarray(rows[column], dtype=float)


def _mean(column: str, times: float = 1.0) -> Callable[[pd.DataFrame], float]:
    return lambda rows: times * _floats(rows, column).mean()


def _nats_per_byte(rows: pd.DataFrame) -> float:
    return _floats(rows, "nats").sum() / _floats(rows, "bytes").sum()


def _bits_per_byte(unit: str, column: str) -> Callable[[pd.DataFrame], float | None]:
    def of(rows: pd.DataFrame) -> float | None:
        if set(rows["unit"]) != {unit}:
            return None
        return _floats(rows, column).sum() / math.log(2) / _floats(rows, "bytes").sum()

    return of


def _likelihood(name: str, title: str, unit: str, column: str) -> Metric:
    return Metric(name, title, "bits/byte", "lower", 3, "likelihood", _bits_per_byte(unit, column))


# Likelihood and pseudo-likelihood are two metrics, so that no table cell and no axis can hold both.
NLL = _likelihood("nll_bits_per_byte", "Bits per byte, NLL", "nll", "nats")
PLL = _likelihood("pll_bits_per_byte", "Bits per byte, pseudo-NLL", "pll", "nats")
PARTY = Metric(
    "party_accuracy", "Party of a paragraph", "% right", "higher", 1, "party", _mean("correct", 100)
)
CHRF = Metric("infill_chrf", "Infill, chrF", "0 to 100", "higher", 1, "infill", _mean("chrf"))
FIRST_WORD = Metric(
    "infill_first_word", "Infill, first word", "% exact", "higher", 1, "infill", _mean("first_word", 100)
)
TARGET = Metric("target_nats_per_byte", "Target of infill", "nats/byte", "lower", 3, "target", _nats_per_byte)
ORDER_MEAN = Metric(
    "order_mean", "Order, mean of states", "% right", "higher", 1, "order", _mean("correct_mean", 100)
)
ORDER_FIRST = Metric(
    "order_first", "Order, own token", "% right", "higher", 1, "order", _mean("correct_first", 100)
)
METRICS = (NLL, PLL, PARTY, CHRF, FIRST_WORD, TARGET, ORDER_MEAN, ORDER_FIRST)
# The trigram on the windows that a run was scored on. The two samples differ, so these are two metrics too.
ANCHORS = {
    NLL: _likelihood("trigram_on_nll_windows", "Trigram", "nll", "trigram_nats"),
    PLL: _likelihood("trigram_on_pll_windows", "Trigram", "pll", "trigram_nats"),
}


def measure(sweep: SweepRecord) -> pd.DataFrame:
    """Returns the results of finished runs, one row an arm, seed and metric, with the columns COLUMNS."""
    return pd.DataFrame([row for run in sweep.done for row in of_one_run(run)], columns=COLUMNS)


def of_one_run(run: RunRecord) -> Iterator[dict[str, Any]]:
    """Yields the rows of `measure` of one run."""
    tables: dict[str, pd.DataFrame | None] = {}
    for metric in (*METRICS, *ANCHORS.values()):
        if metric.table not in tables:
            tables[metric.table] = scores(run, metric.table)
        rows = tables[metric.table]
        value = None if rows is None else metric.of(rows)
        if rows is not None and value is not None:
            yield dict(
                zip(
                    COLUMNS,
                    (run.arm, run.seed, metric.name, float(value), metric.unit, len(rows)),
                    strict=True,
                )
            )


def scores(run: RunRecord, table: str) -> pd.DataFrame | None:
    """Returns scores/<table>.parquet, None if it was not measured or has no rows."""
    path: Path = run.path / "scores" / f"{table}.parquet"
    if not path.exists():
        return None
    rows = read_table(path)
    return None if rows.empty else rows


@dataclass(frozen=True)
class Spread:
    """One arm's values of one metric by seed, in the order of the seeds."""

    metric: Metric
    values: dict[int, float]
    items: int

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))

    @property
    def half_width(self) -> float | None:
        """Half of Student's t interval over seeds; None with one seed, which has no interval."""
        return half_width(list(self.values.values())) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        return self.metric.text(self.mean)

    @property
    def interval(self) -> str:
        """`± half width`, or the words that there is no interval."""
        half = self.half_width
        return "one seed: no interval" if half is None else f"± {self.metric.text(half)}"


def spread(results: pd.DataFrame, arm: str, metric: Metric) -> Spread | None:
    """Returns the arm's values of a metric, None if no finished run of the arm has it."""
    of_arm = (results["arm"] == arm) & (results["metric"] == metric.name)
    rows = results.loc[of_arm].to_dict("records")
    if not rows:
        return None
    values = {row["seed"]: row["value"] for row in sorted(rows, key=lambda row: row["seed"])}
    return Spread(metric, values, max(row["items"] for row in rows))
