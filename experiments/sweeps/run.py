"""Many runs as one experiment: run what is missing, report."""

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
from experiments.sweeps.tuning import Drive, at, tune

INLINE = InlineConfig()


def run(sweep: SweepRecipe, recipes: Recipes, where: AnyLauncher = INLINE) -> None:
    """Tunes, trains and evaluates every arm with every seed, then reports; what is done is not repeated.

    Of a sweep with claims the controls come first. If one does not hold, no verdict could be printed: what
    the claims need besides is then not trained. The same command given in several terminals shares the runs.
    Raises LostRunsError, after the report, if runs crashed more often than `where` tries them again.
    """
    tell_if_too_few(sweep)
    designed = design(sweep, recipes)
    planned = plans(designed.runs)  # a sweep whose declared match fails does not start
    check_spent(planned, designed.runs)
    folder = Path(next(iter(recipes.values())).out) / sweep.name
    check_unchanged(folder, sweep)
    if sweep.tuning is None:
        check_folders(designed.runs.values(), sweep.name)
    register(folder, sweep, designed)
    for table in budget_tables(planned, designed.runs):
        Console(stderr=True).print(table)
    there = launcher_of(where)

    def take(tasks: list[Task]) -> dict[Path, str]:
        return drive(tasks, there, where.retries)

    runs = designed.runs if sweep.tuning is None else _tuned(sweep, sweep.tuning, designed, folder, take)
    tasks = _tasks(runs, sweep.name)
    controls = {arm for claim in sweep.claims.values() if claim.role == "control" for arm in claim.arms}
    lost = take([task for (arm, _), task in tasks.items() if arm in controls])
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
        lost |= take_in_order([task for (arm, _), task in tasks.items() if arm not in controls], take)
    page = write(folder)
    print(f"report: {page}", file=sys.stderr)
    if lost:
        raise LostRunsError(lost)


def _tuned(sweep: SweepRecipe, grid: TuningConfig, designed: Design, folder: Path, take: Drive) -> Recipes:
    """The runs at the learning rates that their arms' trials chose."""
    arms = {arm: designed.runs[arm, 0] for arm in dict.fromkeys(designed.tuned.values())}
    done = tune(grid, arms, folder, take)
    runs = {
        (arm, seed): at(recipe, done.chosen(designed.tuned[arm])) if arm in designed.tuned else recipe
        for (arm, seed), recipe in designed.runs.items()
    }
    check_folders(runs.values(), sweep.name)
    return runs


def _tasks(runs: Recipes, sweep: str) -> dict[tuple[str, int], Task]:
    return {
        (arm, seed): Task(recipe, recipe.folder(sweep), sweep, f"[{number}/{len(runs)}] {arm}, seed {seed}")
        for number, ((arm, seed), recipe) in enumerate(runs.items(), start=1)
    }
