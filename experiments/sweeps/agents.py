"""A sweep handed to W&B's agents: each run is one `pentarch train`, into the folder that the sweep gives it.

Agents train; `pentarch sweep` afterwards evaluates and reports, and trains what no agent did.
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
    """Writes `file`, a W&B sweep in YAML, and beside it the recipe of every run; returns how many there are.

    What the sweep declares is written into its folder, as before any run. Raises UserError if the sweep tunes
    (its recipes are known after its trials alone), is not tracked by W&B, or cannot be written.
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
    beside = file.with_name(f"{file.stem}_recipes")
    try:
        beside.mkdir(parents=True, exist_ok=True)
        paths = [_saved(recipe, beside, arm, seed) for (arm, seed), recipe in designed.runs.items()]
        write_whole(file, yaml.safe_dump(_definition(sweep, first, paths), sort_keys=False).encode())
    except OSError as error:
        raise UserError(f"'{file}' cannot be written ({error.strerror}); give another FILE") from error
    return len(paths)


def _saved(recipe: Recipe, folder: Path, arm: str, seed: int) -> str:
    path = folder / f"{arm}-seed{seed}.yaml"
    write_whole(path, recipe.as_yaml().encode())
    return str(path)


def _definition(sweep: SweepRecipe, first: Recipe, paths: list[str]) -> dict[str, Any]:
    """One parameter, the recipe: W&B's grid tries each once. The metric is what its page shows first."""
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
    """What to do with the file, said once it is written."""
    return (
        f"{count} runs for W&B's agents: {file}. `wandb sweep {file}` says how to start an agent; start each "
        f"in {Path.cwd()}, or where another machine sees this folder. Then the same `pentarch sweep` "
        "evaluates and reports"
    )
