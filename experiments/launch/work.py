"""What a worker does with one run: train it, score it. The whole of what launchers start elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from archs.errors import UserError
from experiments.folder import RunFolder
from experiments.launch.task import MISTAKE
from experiments.recipe import Recipe


def work(recipe: Recipe, folder: Path, sweep: str, until: Literal["trained", "done"]) -> None:
    """Takes a run as far as `until`; what is done already is not repeated. The caller has it to itself."""
    run = RunFolder(folder)
    run.note("began")
    trained = train_arm(recipe, folder, sweep)
    if trained and until == "done" and not run.is_("done"):
        from experiments.evaluate import evaluate_run

        evaluate_run(folder, sweep)
    run.note(run.status["state"])


def train_arm(recipe: Recipe, folder: Path, group: str) -> bool:
    """Trains one run; False if it diverged: that counts in the report, and the other arms go on."""
    from experiments.health import DivergedError
    from experiments.train import train

    run = RunFolder(folder)
    if run.is_("diverged"):
        return False
    with suppress(DivergedError):
        if recipe.training.devices == 1:
            train(recipe, folder, group)
        else:
            train_apart(recipe, folder, group)
    return not run.is_("diverged")


def train_apart(recipe: Recipe, folder: Path, group: str) -> None:
    """Trains in a process of its own: Lightning starts a run's other processes by repeating its command."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.yaml"
        recipe.to_yaml(file)
        command = [sys.executable, "-m", "experiments", "train", "--recipe", str(file)]
        done = subprocess.run([*command, "--folder", str(folder), "--group", group], check=False)
    if not done.returncode or RunFolder(folder).is_("diverged"):
        return
    told = (
        f"training '{recipe.label}' seed {recipe.seed} ended with exit code {done.returncode}; its message is "
        "above; the same command continues where it stopped"
    )
    raise UserError(told) if done.returncode == MISTAKE else ChildProcessError(told)
