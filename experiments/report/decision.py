"""A sweep's claims, decided from what its runs left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from experiments.claims import Claim
from experiments.design import Cell
from experiments.endpoints import ENDPOINTS
from experiments.evidence import Items, items
from experiments.folder import read_json
from experiments.readings import Material
from experiments.registration import CLAIMS, DESIGN, claims_of
from experiments.report.runs import Sweep
from experiments.verdicts import Decision, Outcome, decide, decide_controls


@dataclass(frozen=True)
class Registered:
    """What was written before training: claims.json and design.json."""

    claims: dict[str, Claim]
    digests: dict[str, str]
    deviations: list[dict[str, Any]]
    written: float
    seeds: int
    excused: dict[str, str]
    cells: list[Cell]
    scratch: dict[str, str]

    def arm_under(self, arm: str, cell: Cell) -> str:
        """The name of the arm's runs under a cell."""
        return cell.name(arm, self.cells[0])


def registered(folder: Path) -> Registered | None:
    """None for a sweep without claims."""
    said, design = read_json(folder / CLAIMS), read_json(folder / DESIGN)
    if said is None or design is None:
        return None
    return Registered(
        claims_of(said),
        said["digests"],
        said["deviations"],
        said["written"],
        said["seeds"],
        said["excused"],
        [Cell(**cell) for cell in design["cells"]],
        design["scratch"],
    )


def decision(sweep: Sweep, said: Registered) -> Decision:
    """Every claim judged by what is in `scores/*.parquet`."""
    return decide(_material(sweep, said))


def controls(sweep: Sweep, said: Registered) -> list[Outcome]:
    """The controls alone: the claims' runs need not be there."""
    return decide_controls(_material(sweep, said))


def _material(sweep: Sweep, said: Registered) -> Material:
    runs = {(run.arm, run.seed): run for run in sweep.runs}

    @cache
    def scored(arm: str, cell: Cell, endpoint: str, pooling: str) -> dict[int, Items | None]:
        name, point = said.arm_under(arm, cell), ENDPOINTS[endpoint]
        measures = point.other[1] if point.other and pooling == point.other[0] else point.measures
        return {
            seed: items(run.path / "scores", measures)
            for (of, seed), run in runs.items()
            if of == name and run.done
        }

    def diverged(arm: str, cell: Cell) -> set[int]:
        name = said.arm_under(arm, cell)
        return {seed for (of, seed), run in runs.items() if of == name and run.state == "diverged"}

    return Material(said.claims, said.cells, said.scratch, said.seeds, scored, diverged, said.excused)
