"""Equal tuning: every arm tries the same learning rates at a share of its budget, judged on validation text.

Trials are runs of their own in `<sweep>/<arm>/tuning/`, on a seed that no result uses. `<sweep>/tuning.json`
holds the trials, their cost and the choices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from experiments.evidence.tuning import FILE, SEED, Point, Trial, Tuning
from experiments.recipe.groups.tracking import TrackingConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines, write_json
from experiments.sweeps.launch.task import LostRunsError, Task
from experiments.sweeps.recipe import TuningConfig

RunTasks = Callable[[list[Task]], dict[Path, str]]  # returns {folder: reason} of abandoned tasks


def tune(grid: TuningConfig, arms: dict[str, Recipe], folder: Path, run_tasks: RunTasks) -> Tuning:
    """Runs the trials that are missing, the same for every arm, writes tuning.json and returns its content.

    If an arm's best rate is at an end of the grid, all arms try one more rate there, at most
    `grid.extensions` times. Raises LostRunsError if a trial crashed: an arm with fewer trials than the others
    would not be tuned as they are.
    """
    rates = list(grid.learning_rates)
    tuning = _run_trials(grid, rates, arms, folder, run_tasks)
    for _ in range(grid.extensions):
        ends = {tuning.end(arm) for arm in arms} - {0}
        if not ends:
            break
        rates = [
            *([rates[0] ** 2 / rates[1]] if -1 in ends else []),
            *rates,
            *([rates[-1] ** 2 / rates[-2]] if 1 in ends else []),
        ]
        tuning = _run_trials(grid, rates, arms, folder, run_tasks)
    write_json(folder / FILE, tuning.as_json())
    for arm in arms:
        point = tuning.chosen(arm)
        flag = ", at the end of the grid" if tuning.end(arm) else ""
        print(
            f"{arm}: learning rate {point.learning_rate:g}, warm-up {point.warmup:g}{flag}", file=sys.stderr
        )
    return tuning


def _run_trials(
    grid: TuningConfig, rates: list[float], arms: dict[str, Recipe], folder: Path, run_tasks: RunTasks
) -> Tuning:
    """Runs the missing trials of a grid; returns all results. Raises LostRunsError if one crashed."""
    grids = {arm: list(points(grid, rates, recipe)) for arm, recipe in arms.items()}
    lost = run_tasks(
        [
            Task(
                trial_recipe(grid, recipe, point),
                folder_of(folder, arm, point),
                folder.name,
                f"tuning {arm}, learning rate {point.learning_rate:g}, warm-up {point.warmup:g}",
                goal="trained",
            )
            for arm, recipe in arms.items()
            for point in grids[arm]
        ]
    )
    if lost:
        raise LostRunsError(lost, "trial")
    trials = {
        arm: [_result(folder_of(folder, arm, point), point) for point in tried]
        for arm, tried in grids.items()
    }
    return Tuning(grid.fraction, rates, grid.warmups, trials)


def folder_of(sweep: Path, arm: str, point: Point) -> Path:
    return sweep / arm / "tuning" / point.name


def points(grid: TuningConfig, rates: list[float], recipe: Recipe) -> Iterator[Point]:
    """Yields the grid's points, least learning rate first. A grid without warm-ups takes the recipe's."""
    for rate, warmup in product(rates, grid.warmups or [recipe.training.warmup]):
        yield Point(rate, warmup)


def trial_recipe(grid: TuningConfig, recipe: Recipe, point: Point) -> Recipe:
    """Returns the recipe of a trial: the arm at the grid's fraction of its budget.

    The learning rate decays within the trial: it is no checkpoint of a longer run.
    """
    return at(recipe, point).model_copy(
        update={
            "seed": SEED,
            "budget": recipe.budget.model_copy(update={"scale": recipe.budget.scale * grid.fraction}),
            "tracking": TrackingConfig(name="none"),
        }
    )


def at(recipe: Recipe, point: Point) -> Recipe:
    """Returns the recipe with the point's learning rate and warm-up."""
    changes = {"learning_rate": point.learning_rate, "warmup": point.warmup}
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})


def _result(folder: Path, point: Point) -> Trial:
    """Reads the trial in `folder`: its last validation loss, None if it diverged, and what it spent."""
    rows = read_lines(RunFolder(folder).metrics)
    last: dict[str, Any] = rows[-1] if rows else {}
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    spent = {name: float(last.get(name, 0)) for name in ("flops", "tokens", "seconds")}
    diverged = RunFolder(folder).is_("diverged") or not validated
    return Trial(point, None if diverged else validated[-1], **spent)
