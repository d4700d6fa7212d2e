"""What tasks were asked of a sweep's runs: results by task and mode, and whether pretraining helped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evidence.chosen import by_item, chosen, of_variant
from experiments.evidence.metrics import METRICS, Metric
from experiments.evidence.stats.crossed import crossed_test
from experiments.evidence.stats.student import half_width
from experiments.runs.reading import RunRecord, SweepRecord
from experiments.storage.json_files import read_record
from experiments.storage.tables import read_table

UNITS = {
    "": "",
    "nll": "NLL",
    "pll": "pseudo-NLL",
    "pll_word_l2r": "pseudo-NLL, later tokens of the word hidden",
}
Variant = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, eq=False)
class Result:
    """One run's answer to one task: a file of tasks/. outcomes stand in its order, the chosen one first."""

    run: RunRecord
    path: Path
    content: dict[str, Any]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return self.content["outcomes"]

    @property
    def metric(self) -> Metric:
        """The primary one."""
        return METRICS[self.content["primary"]]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Every item's row of every outcome."""
        return read_table(self.path.with_suffix(".parquet"))

    @property
    def chosen(self) -> dict[str, Any]:
        """The main outcome: with the most training examples, of several poolings what validation chose."""
        found = chosen(self.outcomes)
        assert found is not None
        return found

    @property
    def scratch(self) -> dict[str, Any] | None:
        """The same of the model from scratch."""
        return chosen(self.outcomes, "scratch")

    def values(self, variant: dict[str, str | int]) -> np.ndarray:
        """(items,) each test item's share of the primary metric, mean over finetuning seeds."""
        return np.asarray(by_item(of_variant(self.rows, variant)), dtype=float)


@dataclass(frozen=True, eq=False)
class Asked:
    """A task in a mode, of all runs that were asked it in one way, arms in the sweep's order.

    unit: "nll" or "pll" where it was asked by likelihoods, of which no two units share a table; else "".
    """

    task: str
    mode: str
    ways: tuple[str, ...]
    unit: str
    results: list[Result]

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.task, self.mode.replace("_", "-"), *self.ways, UNITS[self.unit])))

    @property
    def metric(self) -> Metric:
        return self.results[0].metric

    @property
    def differing(self) -> list[str]:
        """What was not the same for all runs, so that their numbers cannot be compared: items, options."""
        digests = {result.content["data"]["digest"] for result in self.results}
        asks = [result.content["ask"] for result in self.results]
        options = [
            name for name in asks[0] if name != "task" and any(ask[name] != asks[0][name] for ask in asks)
        ]
        return [*(["items"] if len(digests) > 1 else []), *options]

    def of(self, arm: str) -> list[Result]:
        return [result for result in self.results if result.run.arm == arm]

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(result.run.arm for result in self.results))


@dataclass(frozen=True)
class Number:
    """A metric of one arm's outcome: the mean over pretraining seeds, and its interval if there is one."""

    value: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Assay:
    """Pretrained arms together against the same models from scratch, in the metric's unit, + is better."""

    difference: float
    low: float
    high: float
    seeds: int
    items: int

    @property
    def passes(self) -> bool:
        return self.low > 0


def asked(sweep: SweepRecord) -> list[Asked]:
    """By task and mode, in the order of their names; [] if no run was asked any."""
    found: dict[tuple[str, str, tuple[str, ...], str], list[Result]] = {}
    for run in sweep.done:
        for path in sorted((run.path / "tasks").glob("*.json")):
            content = read_record(path)
            if content is not None and "outcomes" in content:  # lm-evaluation-harness has files of its own
                result = Result(run, path, content)
                unit = str(result.chosen["variant"].get("unit", ""))
                key_of = content["task"], content["mode"], tuple(content["ways"]), unit
                found.setdefault(key_of, []).append(result)
    return [Asked(*key_of, results) for key_of, results in sorted(found.items())]


def variants(results: Sequence[Result]) -> list[Variant]:
    """The variants of an arm's outcomes, in the order of its first seed."""
    return list(dict.fromkeys(key(one["variant"]) for result in results for one in result.outcomes))


def key(variant: dict[str, str | int]) -> Variant:
    return tuple(variant.items())


def number(results: Sequence[Result], variant: Variant, metric: str) -> Number | None:
    """Of one arm's seeds. One seed: the interval over items; several: Student's t over pretraining seeds."""
    found = [
        one["metrics"][metric]
        for result in results
        for one in result.outcomes
        if key(one["variant"]) == variant and metric in one["metrics"]
    ]
    return _over_seeds(found)


def chosen_number(results: Sequence[Result], metric: str) -> Number | None:
    """The same of each seed's own chosen outcome, which need not be of one variant."""
    found = [result.chosen["metrics"] for result in results]
    return _over_seeds([each[metric] for each in found if metric in each])


def _over_seeds(found: Sequence[dict[str, Any]]) -> Number | None:
    if not found:
        return None
    if len(found) == 1:
        return Number(found[0]["value"], found[0]["low"], found[0]["high"], 1)
    values = np.array([each["value"] for each in found], dtype=float)
    half = half_width(values)
    return Number(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def assay(of: Asked) -> Assay | None:
    """None where no model from scratch was asked, or the runs were not asked alike.

    Crossed over seeds and items, as every contrast here; with one pretraining seed over items alone.
    """
    by_seed: dict[int, list[np.ndarray]] = {}
    for result in of.results:
        if result.scratch is not None:
            difference = result.values(result.chosen["variant"]) - result.values(result.scratch["variant"])
            by_seed.setdefault(result.run.seed, []).append(difference)
    if not by_seed or of.differing:
        return None
    sign = 1 if of.metric.better == "higher" else -1
    table = sign * np.stack([np.mean(each, axis=0) for each in by_seed.values()])
    if len(table) == 1:
        mean, half = float(table.mean()), half_width(table[0])
        return Assay(mean, mean - half, mean + half, 1, table.shape[1])
    test = crossed_test(table)
    return Assay(test.mean, test.low, test.high, test.seeds, test.items)


def baselines(of: Asked) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """What is no model of the run: those of the first run, since all were asked the same."""
    for one in of.results[0].outcomes:
        if one["baseline"]:
            yield key(one["variant"]), one
