"""The differences between two sweeps, and warnings about those that speak against a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.evidence import audit
from experiments.evidence.claims.verdicts import Outcome
from experiments.evidence.results import measure
from experiments.recipe.config import flatten
from experiments.report.claimed import Claimed, claimed
from experiments.report.claims import words
from experiments.report.claims.controls import deviations
from experiments.report.grid import Cell, Grid
from experiments.runs.reading import SweepRecord, load

HERE_ALONE = {
    "data.cache",
    "tracking.name",
    "tracking.project",
    "tracking.entity",
}  # settings of a machine, not of the sweep


@dataclass(frozen=True)
class Side:
    """One of the two sweeps, with its results and claims."""

    sweep: SweepRecord
    results: pd.DataFrame
    claimed: Claimed | None

    @classmethod
    def read(cls, folder: Path) -> Side:
        sweep = load(folder)
        return cls(sweep, measure(sweep), claimed(sweep))

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return (
            {}
            if self.claimed is None
            else {outcome.name: outcome for outcome in self.claimed.decision.outcomes}
        )


def warnings(one: Side, two: Side) -> list[str]:
    """Reasons against comparing the two, the most important first; [] if there are none."""
    reasons = []
    corpora = audit.corpora(one.sweep), audit.corpora(two.sweep)
    if corpora[0] != corpora[1]:
        reasons.append(
            f"They read different text (digests {_digests(corpora[0])} and {_digests(corpora[1])}): "
            "bits per byte and tasks made of it are other questions."
        )
    changed = {key.partition(".")[0] for key, _, _ in _settings(one, two)}
    for group, what in (
        ("size", "Their cores differ in size"),
        ("budget", "They spent other budgets"),
        ("evaluation", "They were evaluated otherwise, so items or finetuning differ"),
    ):
        if group in changed:
            reasons.append(f"{what}: an effect may differ for that alone.")
    other = [name for name in one.outcomes if name in two.outcomes and not _same_claim(one, two, name)]
    if other:
        reasons.append(f"Under one name they make different claims (by hash): {words.listed(other)}.")
    for side in (one, two):
        if side.claimed is not None and side.claimed.failed:
            failed = words.listed(side.claimed.failed)
            reasons.append(f"Apparatus of {side.sweep.name} not validated: {failed} did not hold.")
        if side.claimed is not None and side.claimed.registered.deviations:
            reasons.append(
                f"{side.sweep.name} was changed after training began: {'; '.join(deviations(side.claimed))}."
            )
    return reasons


def _digests(digests: set[str]) -> str:
    return words.listed(sorted(digests))


def _same_claim(one: Side, two: Side, name: str) -> bool:
    assert one.claimed is not None
    assert two.claimed is not None
    return one.claimed.registered.digests[name] == two.claimed.registered.digests[name]


def differing(one: Side, two: Side) -> Grid:
    """A table of the settings, seeds, budgets of claims and arms in which the sweeps differ."""
    rows = [
        [Cell(key, kind="code"), first, second]
        for key, first, second in [*_sweeps(one, two), *_settings(one, two)]
    ]
    return Grid.of("What differs between the sweeps", ["what", one.sweep.name, two.sweep.name], rows)


def _sweeps(one: Side, two: Side) -> Iterator[tuple[str, str, str]]:
    rows: dict[str, tuple[str, str]] = {
        "corpus": (_digests(audit.corpora(one.sweep)), _digests(audit.corpora(two.sweep))),
        "seeds": (_seeds(one), _seeds(two)),
        "cells of claims": (_cells(one), _cells(two)),
        "arms of one alone": (_alone(one, two), _alone(two, one)),
    }
    return ((key, *values) for key, values in rows.items() if values[0] != values[1])


def _seeds(side: Side) -> str:
    return str(side.claimed.registered.seeds if side.claimed else len(side.sweep.seeds))


def _cells(side: Side) -> str:
    return "no claims" if side.claimed is None else "; ".join(map(words.place, side.claimed.registered.cells))


def _alone(side: Side, other: Side) -> str:
    return ", ".join(arm for arm in side.sweep.arms if arm not in other.sweep.arms) or "none"


def _settings(one: Side, two: Side) -> list[tuple[str, str, str]]:
    """(key, value in one, value in two) of each setting that differs, of the first shared arm that does."""
    values_by_key: dict[str, tuple[str, str]] = {}
    for arm in one.sweep.arms:
        first, second = _recipe(one, arm), _recipe(two, arm)
        if first and second:
            for key in sorted(first.keys() | second.keys()):
                if first.get(key) != second.get(key) and key not in HERE_ALONE:
                    values_by_key.setdefault(key, (f"{first.get(key)}", f"{second.get(key)}"))
    return [(key, *values) for key, values in values_by_key.items()]


def _recipe(side: Side, arm: str) -> dict[str, Any]:
    recipe = next((run.recipe for run in side.sweep.of(arm) if run.recipe), {})
    return flatten({key: value for key, value in recipe.items() if key not in audit.NOT_SETTINGS})
