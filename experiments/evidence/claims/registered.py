"""Reads back what a sweep registered before training: its claims and its design."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archs.errors import UserError
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.recipe.config import validated
from experiments.storage.json_files import read_record

SWEEP, DESIGN, CLAIMS = "sweep.json", "design.json", "claims.json"


def claims_of(content: dict[str, Any]) -> dict[str, Claim]:
    """Returns the claims of a claims.json. Raises UserError if one is not valid."""
    return {name: validated(Claim, claim, f"{CLAIMS}, {name}: ") for name, claim in content["claims"].items()}


@dataclass(frozen=True)
class Registered:
    """The content of claims.json and design.json, which were written before training.

    runs: {arm: number of seeds}. seeds, excused, cells, scratch: as in `readings.Material`.
    """

    claims: dict[str, Claim]
    digests: dict[str, str]
    deviations: list[dict[str, Any]]
    written: float
    seeds: int
    runs: dict[str, int]
    excused: dict[str, str]
    cells: list[Condition]
    scratch: dict[str, str]

    def arm_under(self, arm: str, cell: Condition) -> str:
        """Returns the name of the arm's runs under a condition."""
        return cell.name(arm, self.cells[0])


def registered(folder: Path) -> Registered | None:
    """Returns what the sweep registered, None if it has no claims.

    Raises UserError if a file is lost or damaged.
    """
    sweep = read_record(folder / SWEEP) or {}
    claims = read_record(folder / CLAIMS, "claims", "digests", "deviations", "written", "seeds", "excused")
    design = read_record(folder / DESIGN, "seeds", "cells", "scratch")
    if claims is None and not sweep.get("claims"):
        return None
    for content, name in ((claims, CLAIMS), (design, DESIGN)):
        if content is None:
            raise UserError(
                f"'{folder / name}' is missing, and with it what its claims are decided by; run "
                "the same 'pentarch sweep' again, which writes it and trains nothing that is done"
            )
    assert claims is not None
    assert design is not None
    return Registered(
        claims_of(claims),
        claims["digests"],
        claims["deviations"],
        claims["written"],
        claims["seeds"],
        design["seeds"],
        claims["excused"],
        [Condition(**cell) for cell in design["cells"]],
        design["scratch"],
    )
