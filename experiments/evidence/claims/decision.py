"""A sweep's claims, decided from what its runs left."""

from __future__ import annotations

from functools import cache

from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.items import Items, items
from experiments.evidence.claims.readings import Material
from experiments.evidence.claims.registered import Registered
from experiments.evidence.claims.verdicts import Decision, Outcome, decide, decide_controls
from experiments.runs.reading import SweepRecord


def decision(sweep: SweepRecord, said: Registered) -> Decision:
    """Every claim judged by what is in `scores/*.parquet`."""
    return decide(_material(sweep, said))


def controls(sweep: SweepRecord, said: Registered) -> list[Outcome]:
    """The controls alone: the claims' runs need not be there."""
    return decide_controls(_material(sweep, said))


def _material(sweep: SweepRecord, said: Registered) -> Material:
    # More seeds than are declared now may be there, of a time when they were.
    runs = {(run.arm, run.seed): run for run in sweep.runs if run.seed < said.runs.get(run.arm, 0)}

    @cache
    def scored(arm: str, cell: Condition, endpoint: str, pooling: str) -> dict[int, Items | None]:
        name, point = said.arm_under(arm, cell), endpoint_of(endpoint)
        measures = point.other[1] if point.other and pooling == point.other[0] else point.measures
        return {
            seed: items(run.path / "scores", measures)
            for (of, seed), run in runs.items()
            if of == name and run.done
        }

    def diverged(arm: str, cell: Condition) -> set[int]:
        name = said.arm_under(arm, cell)
        return {seed for (of, seed), run in runs.items() if of == name and run.state == "diverged"}

    return Material(said.claims, said.cells, said.scratch, said.seeds, scored, diverged, said.excused)
