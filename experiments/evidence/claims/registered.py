"""What a sweep registered before training, as it is read back."""

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
    """The claims of a claims.json. Raises UserError if they are none."""
    return {name: validated(Claim, claim, f"{CLAIMS}, {name}: ") for name, claim in content["claims"].items()}


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
    cells: list[Condition]
    scratch: dict[str, str]

    def arm_under(self, arm: str, cell: Condition) -> str:
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
        [Condition(**cell) for cell in design["cells"]],
        design["scratch"],
    )
