"""The task results of a sweep's runs, by task and mode, and whether pretraining helped."""

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
    """One run's result on one task, a file of tasks/. Its outcomes keep their order, the chosen one first."""

    run: RunRecord
    path: Path
    content: dict[str, Any]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return self.content["outcomes"]

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        return METRICS[self.content["primary"]]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of all outcomes, one for each item."""
        return read_table(self.path.with_suffix(".parquet"))

    @property
    def chosen(self) -> dict[str, Any]:
        """The main outcome: with the most training examples, and the pooling that is best on validation."""
        outcome = chosen(self.outcomes)
        assert outcome is not None
        return outcome

    @property
    def scratch(self) -> dict[str, Any] | None:
        """The main outcome of the model from scratch; None without one."""
        return chosen(self.outcomes, "scratch")

    def values(self, variant: dict[str, str | int]) -> np.ndarray:
        """Each test item's share of the primary metric (items), the mean over finetuning seeds."""
        return np.asarray(by_item(of_variant(self.rows, variant)), dtype=float)


@dataclass(frozen=True, eq=False)
class Asked:
    """A task in one mode with one set of options, with the results of all runs, arms in the sweep's order.

    ways: the options that change the question, such as pair=apart. unit: that of the likelihoods, since two
    units never share a table; "" for a task without likelihoods.
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
        """What differs between runs (items, options), so that their numbers cannot be compared."""
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
    """A metric of one arm's outcome: the mean over pretraining seeds, with its interval if there is one."""

    value: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Assay:
    """All pretrained arms against the same models from scratch, in the metric's unit; positive is better."""

    difference: float
    low: float
    high: float
    seeds: int
    items: int

    @property
    def passes(self) -> bool:
        return self.low > 0


def asked(sweep: SweepRecord) -> list[Asked]:
    """The tasks of a sweep by task and mode, in the order of their names; [] if there are none."""
    results_by_key: dict[tuple[str, str, tuple[str, ...], str], list[Result]] = {}
    for run in sweep.done:
        for path in sorted((run.path / "tasks").glob("*.json")):
            content = read_record(path)
            if content is not None and "outcomes" in content:  # lm-evaluation-harness has files of its own
                result = Result(run, path, content)
                unit = str(result.chosen["variant"].get("unit", ""))
                task_key = content["task"], content["mode"], tuple(content["ways"]), unit
                results_by_key.setdefault(task_key, []).append(result)
    return [Asked(*task_key, results) for task_key, results in sorted(results_by_key.items())]


def variants(results: Sequence[Result]) -> list[Variant]:
    """The variants of an arm's outcomes, in the order of its first seed."""
    return list(dict.fromkeys(key(outcome["variant"]) for result in results for outcome in result.outcomes))


def key(variant: dict[str, str | int]) -> Variant:
    return tuple(variant.items())


def number(results: Sequence[Result], variant: Variant, metric: str) -> Number | None:
    """A metric over one arm's seeds. Its interval is over items for one seed, else Student's over seeds."""
    measurements = [
        outcome["metrics"][metric]
        for result in results
        for outcome in result.outcomes
        if key(outcome["variant"]) == variant and metric in outcome["metrics"]
    ]
    return _over_seeds(measurements)


def chosen_number(results: Sequence[Result], metric: str) -> Number | None:
    """As `number`, of the outcome that each seed chose; seeds may choose different variants."""
    metrics_of_chosen = [result.chosen["metrics"] for result in results]
    return _over_seeds([each[metric] for each in metrics_of_chosen if metric in each])


def _over_seeds(measurements: Sequence[dict[str, Any]]) -> Number | None:
    if not measurements:
        return None
    if len(measurements) == 1:
        return Number(measurements[0]["value"], measurements[0]["low"], measurements[0]["high"], 1)
    values = np.array([each["value"] for each in measurements], dtype=float)
    half = half_width(values)
    return Number(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def assay(task: Asked) -> Assay | None:
    """The assay of a task; None without models from scratch, or if the runs differ in items or options.

    A test crossed over seeds and items, as for every contrast; over items alone with one pretraining seed.
    """
    by_seed: dict[int, list[np.ndarray]] = {}
    for result in task.results:
        if result.scratch is not None:
            difference = result.values(result.chosen["variant"]) - result.values(result.scratch["variant"])
            by_seed.setdefault(result.run.seed, []).append(difference)
    if not by_seed or task.differing:
        return None
    sign = 1 if task.metric.better == "higher" else -1
    table = sign * np.stack([np.mean(each, axis=0) for each in by_seed.values()])
    if len(table) == 1:
        mean, half = float(table.mean()), half_width(table[0])
        return Assay(mean, mean - half, mean + half, 1, table.shape[1])
    test = crossed_test(table)
    return Assay(test.mean, test.low, test.high, test.seeds, test.items)


def baselines(task: Asked) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """The baselines of the first run; they need no trained model, so all runs have the same."""
    for outcome in task.results[0].outcomes:
        if outcome["baseline"]:
            yield key(outcome["variant"]), outcome
