"""A sweep's claims, decided from what its runs left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from archs.errors import UserError
from experiments.claims.cell import Cell
from experiments.claims.claim import Claim
from experiments.claims.endpoints import endpoint_of
from experiments.claims.evidence import Items, items
from experiments.claims.readings import Material
from experiments.claims.registration import CLAIMS, DESIGN, SWEEP, claims_of
from experiments.claims.verdicts import Decision, Outcome, decide, decide_controls
from experiments.folder import read_record
from experiments.report.runs import Sweep


@dataclass(frozen=True)
class Registered:
    """What was written before training: claims.json and design.json."""

    claims: dict[str, Claim]
    digests: dict[str, str]
    deviations: list[dict[str, Any]]
    written: float
    seeds: int
    runs: dict[str, int]
    excused: dict[str, str]
    cells: list[Cell]
    scratch: dict[str, str]

    def arm_under(self, arm: str, cell: Cell) -> str:
        """The name of the arm's runs under a cell."""
        return cell.name(arm, self.cells[0])


def registered(folder: Path) -> Registered | None:
    """None for a sweep without claims. Raises UserError if what was registered is lost or damaged."""
    sweep = read_record(folder / SWEEP) or {}
    said = read_record(folder / CLAIMS, "claims", "digests", "deviations", "written", "seeds", "excused")
    design = read_record(folder / DESIGN, "seeds", "cells", "scratch")
    if said is None and not sweep.get("claims"):
        return None
    for content, name in ((said, CLAIMS), (design, DESIGN)):
        if content is None:
            raise UserError(
                f"'{folder / name}' is missing, and with it what its claims are decided by; run "
                "the same 'pentarch sweep' again, which writes it and trains nothing that is done"
            )
    assert said is not None
    assert design is not None
    return Registered(
        claims_of(said),
        said["digests"],
        said["deviations"],
        said["written"],
        said["seeds"],
        design["seeds"],
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
    # More seeds than are declared now may be there, of a time when they were.
    runs = {(run.arm, run.seed): run for run in sweep.runs if run.seed < said.runs.get(run.arm, 0)}

    @cache
    def scored(arm: str, cell: Cell, endpoint: str, pooling: str) -> dict[int, Items | None]:
        name, point = said.arm_under(arm, cell), endpoint_of(endpoint)
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
