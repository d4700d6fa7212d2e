"""Many runs as one experiment: run what is missing, report."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console

from archs.errors import UserError
from experiments.budget_table import budget_tables
from experiments.claims.design import Design, Recipes, design
from experiments.claims.registration import check_unchanged, register
from experiments.folder import RunFolder
from experiments.planning import check_spent, plans, tell_if_too_few
from experiments.recipe import Recipe
from experiments.sharing import share
from experiments.sweep_recipe import SweepRecipe, TuningConfig
from experiments.tuning import at, tune


def run(sweep: SweepRecipe, recipes: Recipes) -> None:
    """Tunes, trains and evaluates every arm with every seed, then reports; what is done is not repeated.

    Of a sweep with claims the controls come first. If one does not hold, no verdict could be printed: what
    the claims need besides is then not trained. The same command given in several terminals shares the runs.
    """
    tell_if_too_few(sweep)
    designed = design(sweep, recipes)
    planned = plans(designed.runs)  # a sweep whose declared match fails does not start
    check_spent(planned, designed.runs)
    folder = Path(next(iter(recipes.values())).out) / sweep.name
    check_unchanged(folder, sweep)
    if sweep.tuning is None:
        _check_folders(designed.runs, sweep.name)
    register(folder, sweep, designed)
    for table in budget_tables(planned, designed.runs):
        Console(stderr=True).print(table)
    runs = designed.runs if sweep.tuning is None else _tuned(sweep, sweep.tuning, designed, folder)
    controls = {arm for claim in sweep.claims.values() if claim.role == "control" for arm in claim.arms}
    first = {key: recipe for key, recipe in runs.items() if key[0] in controls}
    _run_all(first, runs, sweep.name)
    from experiments.report import failed_controls, write

    failed = failed_controls(folder) if controls else []
    if failed:
        told = "; ".join(f"{outcome.name} ({outcome.verdict}: {outcome.why})" for outcome in failed)
        print(
            f"apparatus not validated: {told}. No verdict can be printed, so the arms of the claims are not "
            "trained; raise budget.amount or seeds in a new folder: name=…",
            file=sys.stderr,
        )
    else:
        _run_all({key: recipe for key, recipe in runs.items() if key not in first}, runs, sweep.name)
    page = write(folder)
    print(f"report: {page}", file=sys.stderr)


def _check_folders(runs: Recipes, sweep: str) -> None:
    for recipe in runs.values():
        RunFolder(recipe.folder(sweep)).check(recipe)


def _tuned(sweep: SweepRecipe, grid: TuningConfig, designed: Design, folder: Path) -> Recipes:
    """The runs at the learning rates that their arms' trials chose."""
    arms = {arm: designed.runs[arm, 0] for arm in dict.fromkeys(designed.tuned.values())}
    done = tune(grid, arms, folder, lambda recipe, here: train_arm(recipe, here, sweep.name))
    runs = {
        (arm, seed): at(recipe, done.chosen(designed.tuned[arm])) if arm in designed.tuned else recipe
        for (arm, seed), recipe in designed.runs.items()
    }
    _check_folders(runs, sweep.name)
    return runs


def _run_all(some: Recipes, every: Recipes, sweep: str) -> None:
    """Trains and evaluates some of the sweep's runs."""
    numbers = {key: number for number, key in enumerate(every, start=1)}
    share(
        {
            recipe.folder(sweep): partial(
                _run_one, recipe, sweep, f"[{numbers[arm, seed]}/{len(every)}] {arm}, seed {seed}"
            )
            for (arm, seed), recipe in some.items()
        }
    )


def _run_one(recipe: Recipe, sweep: str, label: str) -> None:
    from experiments.evaluate import evaluate_run

    console, run = Console(stderr=True), RunFolder(recipe.folder(sweep))
    console.print(f"{label}: {run.status['state']}", markup=False)
    if not train_arm(recipe, run.path, sweep):
        console.print(f"{label} diverged, which counts: {run.status['why']}", markup=False)
    elif not run.is_("done"):
        evaluate_run(run.path, sweep)


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
    if done.returncode and not RunFolder(folder).is_("diverged"):
        raise UserError(
            f"training '{recipe.label}' seed {recipe.seed} ended with exit code {done.returncode}; its "
            "message is above; the same command continues where it stopped"
        )
