"""What a sweep said it would do, written before anything is trained, and what was changed since.

`sweep.json` holds the sweep as it was asked for, `design.json` the runs that follow from it, `claims.json`
the claims with their hashes and every change made to them after training began.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archs.errors import UserError
from experiments.evidence.claims.registered import CLAIMS, DESIGN, SWEEP
from experiments.recipe.config import flatten
from experiments.storage.json_files import read_json, read_record, write_json
from experiments.sweeps.design import Design
from experiments.sweeps.recipe import SweepRecipe

# What a sweep may not change once it has begun: of the runs that are there some would be of either kind.
FIXED = ("overrides", "tuning", "budgets", "scales", "endpoints")


def register(folder: Path, sweep: SweepRecipe, design: Design) -> None:
    """Writes the three files. Raises UserError if they cannot be written."""
    begun = has_begun(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sweep.claims:
            write_json(folder / CLAIMS, _claims(folder, sweep, begun))
        write_json(folder / SWEEP, sweep.model_dump(mode="json"))
        write_json(
            folder / DESIGN,
            {
                "seeds": design.seeds,
                "cells": [asdict(cell) for cell in design.cells],
                "scratch": design.scratch,
                "tuned": design.tuned,
            },
        )
    except OSError as error:
        raise UserError(
            f"sweep folder '{folder}' cannot be written ({error.strerror}); set out=FOLDER to one that can"
        ) from error


def has_begun(folder: Path) -> bool:
    """Whether anything was trained, a trial even."""
    return any(folder.glob("*/seed*/status.json")) or any(folder.glob("*/tuning/*/status.json"))


def check_unchanged(folder: Path, sweep: SweepRecipe) -> None:
    """Raises UserError if a sweep that has begun is another now."""
    before = read_record(folder / SWEEP, "arms") if has_begun(folder) else None
    if before is None:
        return
    now = sweep.model_dump(mode="json")
    if before.get("claims") and not now["claims"]:
        raise UserError(
            f"sweep '{sweep.name}' has begun in '{folder}' with claims ({', '.join(before['claims'])}) and "
            "has none now; put them back, or set name=… or out=… for a new folder"
        )
    changed = [name for name in FIXED if before.get(name, now[name]) != now[name]]
    changed += [f"arms.{arm}" for arm, its in before["arms"].items() if now["arms"].get(arm, its) != its]
    if changed:
        told = ", ".join(f"{key} ({_at(before, key)} there, {_at(now, key)} now)" for key in changed)
        raise UserError(
            f"sweep '{sweep.name}' has begun in '{folder}' and was edited since: {told}; put it back, or set "
            "name=… or out=… for a new folder"
        )


def _at(content: dict[str, Any], key: str) -> Any:
    outer, _, inner = key.partition(".")
    return content[outer][inner] if inner else content[outer]


def _claims(folder: Path, sweep: SweepRecipe, begun: bool) -> dict[str, Any]:
    """The claims as they are now. Once training has begun each change is kept, and told."""
    now = {name: claim.model_dump(mode="json") for name, claim in sweep.claims.items()}
    content = {
        "written": time.time(),
        "seeds": sweep.seeds,
        "excused": sweep.excused,
        "claims": now,
        "digests": {name: claim.digest() for name, claim in sweep.claims.items()},
        "deviations": [],
    }
    before = read_json(folder / CLAIMS)
    if before is None or not begun:
        return content
    changes = [*_changes(before["claims"], now)]
    if before["seeds"] != sweep.seeds:
        changes.append(f"seeds: {before['seeds']} before, {sweep.seeds} now")
    excused = before["excused"]
    late = [name for name in sweep.excused if name not in excused]
    changes += [f"control {name} was to be excused, too late: it gates as before" for name in late]
    changes += [f"control {name} is no longer excused" for name in excused if name not in sweep.excused]
    content["excused"] = {name: why for name, why in sweep.excused.items() if name in excused}
    for change in changes:
        print(f"deviation, after training began: {change}", file=sys.stderr)
    deviations = [*before["deviations"], *({"time": time.time(), "what": change} for change in changes)]
    return content | {"written": before["written"], "deviations": deviations}


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    told = [f"claim {name} was added" for name in now if name not in before]
    told += [f"claim {name} was dropped" for name in before if name not in now]
    for name in now:
        old, new = flatten(before.get(name, now[name])), flatten(now[name])
        told += [
            f"claim {name}: {key} was {old.get(key)}, is {new.get(key)}"
            for key in sorted(old | new)
            if old.get(key) != new.get(key)
        ]
    return told
