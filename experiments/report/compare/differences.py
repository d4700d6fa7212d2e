"""What differs between two sweeps, and which of it speaks against comparing them."""

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
}  # of the place, not of the sweep


@dataclass(frozen=True)
class Side:
    """One of the two sweeps, read."""

    sweep: SweepRecord
    found: pd.DataFrame
    of: Claimed | None

    @classmethod
    def read(cls, folder: Path) -> Side:
        sweep = load(folder)
        return cls(sweep, measure(sweep), claimed(sweep))

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {} if self.of is None else {outcome.name: outcome for outcome in self.of.decision.outcomes}


def warnings(one: Side, two: Side) -> list[str]:
    """Why the two may not be compared, what weighs most first; [] if nothing speaks against it."""
    found = []
    corpora = audit.corpora(one.sweep), audit.corpora(two.sweep)
    if corpora[0] != corpora[1]:
        found.append(
            f"They read different text (digests {_told(corpora[0])} and {_told(corpora[1])}): bits per byte "
            "and tasks made of it are other questions."
        )
    changed = {key.partition(".")[0] for key, _, _ in _settings(one, two)}
    for group, what in (
        ("size", "Their cores differ in size"),
        ("budget", "They spent other budgets"),
        ("evaluation", "They were evaluated otherwise, so items or finetuning differ"),
    ):
        if group in changed:
            found.append(f"{what}: an effect may differ for that alone.")
    other = [name for name in one.outcomes if name in two.outcomes and not _same_claim(one, two, name)]
    if other:
        found.append(f"Under one name they make different claims (by hash): {words.listed(other)}.")
    for side in (one, two):
        if side.of is not None and side.of.failed:
            found.append(
                f"Apparatus of {side.sweep.name} not validated: {words.listed(side.of.failed)} did not hold."
            )
        if side.of is not None and side.of.said.deviations:
            found.append(
                f"{side.sweep.name} was changed after training began: {'; '.join(deviations(side.of))}."
            )
    return found


def _told(digests: set[str]) -> str:
    return words.listed(sorted(digests))


def _same_claim(one: Side, two: Side, name: str) -> bool:
    assert one.of is not None
    assert two.of is not None
    return one.of.said.digests[name] == two.of.said.digests[name]


def differing(one: Side, two: Side) -> Grid:
    """Settings, seeds, budgets of claims and arms in which the sweeps differ."""
    rows = [
        [Cell(key, kind="code"), first, second]
        for key, first, second in [*_sweeps(one, two), *_settings(one, two)]
    ]
    return Grid.of("What differs between the sweeps", ["what", one.sweep.name, two.sweep.name], rows)


def _sweeps(one: Side, two: Side) -> Iterator[tuple[str, str, str]]:
    rows: dict[str, tuple[str, str]] = {
        "corpus": (_told(audit.corpora(one.sweep)), _told(audit.corpora(two.sweep))),
        "seeds": (_seeds(one), _seeds(two)),
        "cells of claims": (_cells(one), _cells(two)),
        "arms of one alone": (_alone(one, two), _alone(two, one)),
    }
    return ((key, *values) for key, values in rows.items() if values[0] != values[1])


def _seeds(side: Side) -> str:
    return str(side.of.said.seeds if side.of else len(side.sweep.seeds))


def _cells(side: Side) -> str:
    return "no claims" if side.of is None else "; ".join(map(words.place, side.of.said.cells))


def _alone(side: Side, other: Side) -> str:
    return ", ".join(arm for arm in side.sweep.arms if arm not in other.sweep.arms) or "none"


def _settings(one: Side, two: Side) -> list[tuple[str, str, str]]:
    """Settings in which an arm that both have differs; of each key the first such arm's."""
    found: dict[str, tuple[str, str]] = {}
    for arm in one.sweep.arms:
        first, second = _recipe(one, arm), _recipe(two, arm)
        if first and second:
            for key in sorted(first.keys() | second.keys()):
                if first.get(key) != second.get(key) and key not in HERE_ALONE:
                    found.setdefault(key, (f"{first.get(key)}", f"{second.get(key)}"))
    return [(key, *values) for key, values in found.items()]


def _recipe(side: Side, arm: str) -> dict[str, Any]:
    recipe = next((run.recipe for run in side.sweep.of(arm) if run.recipe), {})
    return flatten({key: value for key, value in recipe.items() if key not in audit.NOT_SETTINGS})
