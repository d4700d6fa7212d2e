"""Registers a sweep: what it will do is written before anything is trained, and later changes beside it.

`sweep.json` holds the sweep as the user gave it, `design.json` the runs that follow from it, `claims.json`
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

# Keys that may not change once a sweep has begun: old and new runs would not be comparable.
FIXED = ("overrides", "tuning", "budgets", "scales", "endpoints")


def register(folder: Path, sweep: SweepRecipe, design: Design) -> None:
    """Writes sweep.json, design.json and, for claims, claims.json. Raises UserError if it cannot."""
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
    """Returns whether any run or trial of the sweep has started."""
    return any(folder.glob("*/seed*/status.json")) or any(folder.glob("*/tuning/*/status.json"))


def check_unchanged(folder: Path, sweep: SweepRecipe) -> None:
    """Raises UserError if a sweep that has begun was edited since, in its arms or a key of FIXED."""
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
        changes = [f"{key} ({_value(before, key)} there, {_value(now, key)} now)" for key in changed]
        raise UserError(
            f"sweep '{sweep.name}' has begun in '{folder}' and was edited since: {', '.join(changes)}; "
            "put it back, or set name=… or out=… for a new folder"
        )


def _value(content: dict[str, Any], key: str) -> Any:
    """Returns the value of `key`, or of `outer.inner`."""
    outer, _, inner = key.partition(".")
    return content[outer][inner] if inner else content[outer]


def _claims(folder: Path, sweep: SweepRecipe, begun: bool) -> dict[str, Any]:
    """Returns the content of claims.json.

    Once training has begun, each change to the claims, the seeds or the excused controls is kept there as a
    deviation and printed on stderr.
    """
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
    """Returns a sentence for each difference between two versions of the claims."""
    changes = [f"claim {name} was added" for name in now if name not in before]
    changes += [f"claim {name} was dropped" for name in before if name not in now]
    for name in now:
        old, new = flatten(before.get(name, now[name])), flatten(now[name])
        changes += [
            f"claim {name}: {key} was {old.get(key)}, is {new.get(key)}"
            for key in sorted(old | new)
            if old.get(key) != new.get(key)
        ]
    return changes
