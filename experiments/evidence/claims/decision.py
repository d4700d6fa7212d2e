"""Decides a sweep's claims from the scores of its runs."""

from __future__ import annotations

from functools import cache

from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.items import Items, items
from experiments.evidence.claims.readings import Material
from experiments.evidence.claims.registered import Registered
from experiments.evidence.claims.verdicts import Decision, Outcome, decide, decide_controls
from experiments.runs.reading import SweepRecord


def decision(sweep: SweepRecord, registered: Registered) -> Decision:
    """Returns the decision on every claim, from `scores/*.parquet`."""
    return decide(_material(sweep, registered))


def controls(sweep: SweepRecord, registered: Registered) -> list[Outcome]:
    """Returns the outcomes of the controls. Runs of other claims need not exist."""
    return decide_controls(_material(sweep, registered))


def _material(sweep: SweepRecord, registered: Registered) -> Material:
    # The folder may hold more seeds than are declared now, if more were declared before.
    runs = {(run.arm, run.seed): run for run in sweep.runs if run.seed < registered.runs.get(run.arm, 0)}

    @cache
    def scored(arm: str, cell: Condition, endpoint: str, pooling: str) -> dict[int, Items | None]:
        name, read = registered.arm_under(arm, cell), endpoint_of(endpoint)
        measures = read.other[1] if read.other and pooling == read.other[0] else read.measures
        return {
            seed: items(run.path / "scores", measures)
            for (of, seed), run in runs.items()
            if of == name and run.done
        }

    def diverged(arm: str, cell: Condition) -> set[int]:
        name = registered.arm_under(arm, cell)
        return {seed for (of, seed), run in runs.items() if of == name and run.state == "diverged"}

    return Material(
        registered.claims,
        registered.cells,
        registered.scratch,
        registered.seeds,
        scored,
        diverged,
        registered.excused,
    )
