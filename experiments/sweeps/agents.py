"""Hands a sweep to W&B's agents: each run is one `pentarch train`, into the folder that the sweep gives it.

Agents only train. `pentarch sweep` then evaluates and reports, and trains the runs that no agent took.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from archs.errors import UserError
from experiments.recipe.recipe import Recipe, Recipes
from experiments.runs.folder import check_folders
from experiments.storage.whole import write_whole
from experiments.sweeps.design import design
from experiments.sweeps.recipe import SweepRecipe
from experiments.sweeps.registration import check_unchanged, register


def hand_over(sweep: SweepRecipe, recipes: Recipes, file: Path) -> int:
    """Writes `file`, a W&B sweep in YAML, and each run's recipe beside it; returns the number of runs.

    It also registers the sweep in its folder, as before any run. Raises UserError if the sweep tunes (its
    trials would have to decide its recipes first), is not tracked by W&B, or cannot be written.
    """
    first = next(iter(recipes.values()))
    if sweep.tuning is not None:
        raise UserError(
            f"sweep '{sweep.name}' tunes, so what its runs are is known after its trials: run it by "
            "`pentarch sweep`, or hand it over without tuning: tuning=null"
        )
    if first.tracking.name != "wandb":
        raise UserError(f"--wandb-sweep needs tracking=wandb, came tracking={first.tracking.name}")
    designed = design(sweep, recipes)
    folder = Path(first.out) / sweep.name
    check_unchanged(folder, sweep)
    check_folders(designed.runs.values(), sweep.name)
    register(folder, sweep, designed)
    recipes_folder = file.with_name(f"{file.stem}_recipes")
    try:
        recipes_folder.mkdir(parents=True, exist_ok=True)
        paths = [
            _write_recipe(recipe, recipes_folder, arm, seed) for (arm, seed), recipe in designed.runs.items()
        ]
        write_whole(file, yaml.safe_dump(_definition(sweep, first, paths), sort_keys=False).encode())
    except OSError as error:
        raise UserError(f"'{file}' cannot be written ({error.strerror}); give another FILE") from error
    return len(paths)


def _write_recipe(recipe: Recipe, folder: Path, arm: str, seed: int) -> str:
    path = folder / f"{arm}-seed{seed}.yaml"
    write_whole(path, recipe.as_yaml().encode())
    return str(path)


def _definition(sweep: SweepRecipe, first: Recipe, paths: list[str]) -> dict[str, Any]:
    """Returns W&B's description of the sweep.

    Its one parameter is the recipe, so that a grid search starts each run once. The metric is what W&B's page
    shows first.
    """
    place = {"project": first.tracking.project}
    if first.tracking.entity is not None:
        place["entity"] = first.tracking.entity
    return {
        "name": sweep.name,
        "description": sweep.question,
        **place,
        "method": "grid",
        "metric": {"name": "validation_loss", "goal": "minimize"},
        "program": "pentarch",
        "command": ["${env}", "${program}", "train", f"--group={sweep.name}", "${args}"],
        "parameters": {"recipe": {"values": paths}},
    }


def instructions(file: Path, count: int) -> str:
    """Returns the message for the user once the file is written: what to do with it."""
    return (
        f"{count} runs for W&B's agents: {file}. `wandb sweep {file}` says how to start an agent; start each "
        f"in {Path.cwd()}, or where another machine sees this folder. Then the same `pentarch sweep` "
        "evaluates and reports"
    )
