"""Runs a sweep: tunes, trains and evaluates the runs that are missing, then writes the report."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from experiments.budget.table import budget_tables
from experiments.recipe.recipe import Recipes
from experiments.runs.folder import check_folders
from experiments.sweeps.design import Design, design
from experiments.sweeps.launch.config import AnyLauncher, InlineConfig
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.launchers import launcher_of
from experiments.sweeps.launch.task import LostRunsError, Task
from experiments.sweeps.order import take_in_order
from experiments.sweeps.plan import check_spent, plans, tell_if_too_few
from experiments.sweeps.recipe import SweepRecipe, TuningConfig
from experiments.sweeps.registration import check_unchanged, register
from experiments.sweeps.tuning import RunTasks, at, tune

INLINE = InlineConfig()


def run(sweep: SweepRecipe, recipes: Recipes, where: AnyLauncher = INLINE) -> None:
    """Tunes, trains and evaluates every arm with every seed, then reports. A finished run is not repeated.

    With claims, the runs of the controls come first. If a control fails, no verdict can be printed, so the
    runs of the claims are not trained. Several terminals may run the same command: they share the runs.
    where: the launcher, in this process by default. Raises LostRunsError, after the report, if runs crashed
    more often than the launcher retries.
    """
    tell_if_too_few(sweep)
    designed = design(sweep, recipes)
    planned = plans(designed.runs)  # before anything is written: arms that cannot be matched stop the sweep
    check_spent(planned, designed.runs)
    folder = Path(next(iter(recipes.values())).out) / sweep.name
    check_unchanged(folder, sweep)
    if sweep.tuning is None:
        check_folders(designed.runs.values(), sweep.name)
    register(folder, sweep, designed)
    for table in budget_tables(planned, designed.runs):
        Console(stderr=True).print(table)
    launcher = launcher_of(where)

    def run_tasks(tasks: list[Task]) -> dict[Path, str]:
        return drive(tasks, launcher, where.retries)

    runs = designed.runs if sweep.tuning is None else _tuned(sweep, sweep.tuning, designed, folder, run_tasks)
    tasks = _tasks(runs, sweep.name)
    controls = {arm for claim in sweep.claims.values() if claim.role == "control" for arm in claim.arms}
    lost = run_tasks([task for (arm, _), task in tasks.items() if arm in controls])
    from experiments.report import failed_controls, write

    failed = failed_controls(folder) if controls else []
    if failed:
        reasons = [f"{outcome.name} ({outcome.verdict}: {outcome.why})" for outcome in failed]
        print(
            f"apparatus not validated: {'; '.join(reasons)}. No verdict can be printed, so the arms of the "
            "claims are not trained; raise budget.amount or seeds in a new folder: name=…",
            file=sys.stderr,
        )
    else:
        rest = [task for (arm, _), task in tasks.items() if arm not in controls]
        lost |= take_in_order(rest, run_tasks)
    page = write(folder)
    print(f"report: {page}", file=sys.stderr)
    if lost:
        raise LostRunsError(lost)


def _tuned(
    sweep: SweepRecipe, grid: TuningConfig, designed: Design, folder: Path, run_tasks: RunTasks
) -> Recipes:
    """Runs the trials; returns the sweep's recipes with the learning rates and warm-ups that they chose."""
    arms = {arm: designed.runs[arm, 0] for arm in dict.fromkeys(designed.tuned.values())}
    tuning = tune(grid, arms, folder, run_tasks)
    runs = {
        (arm, seed): at(recipe, tuning.chosen(designed.tuned[arm])) if arm in designed.tuned else recipe
        for (arm, seed), recipe in designed.runs.items()
    }
    check_folders(runs.values(), sweep.name)
    return runs


def _tasks(runs: Recipes, sweep: str) -> dict[tuple[str, int], Task]:
    return {
        (arm, seed): Task(recipe, recipe.folder(sweep), sweep, f"[{number}/{len(runs)}] {arm}, seed {seed}")
        for number, ((arm, seed), recipe) in enumerate(runs.items(), start=1)
    }
