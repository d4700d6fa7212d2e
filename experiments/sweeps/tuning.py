"""Equal tuning: every arm tries the same learning rates, at a share of its budget, on validation text alone.

Trials are runs of their own in `<sweep>/<arm>/tuning/`, on a seed that no result is of. What was tried, what
it cost and what was chosen is in `<sweep>/tuning.json`.
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

Drive = Callable[[list[Task]], dict[Path, str]]  # takes tasks to their end; those given up, with why


def tune(grid: TuningConfig, arms: dict[str, Recipe], folder: Path, drive: Drive) -> Tuning:
    """Runs the trials that are missing, for every arm the same, and writes tuning.json.

    Where a best rate is at an end of the grid, all arms try one more there, `grid.extensions` times. Raises
    LostRunsError if a trial crashed: an arm with fewer trials than the others would not be tuned alike.
    """
    rates = list(grid.learning_rates)
    done = _tried(grid, rates, arms, folder, drive)
    for _ in range(grid.extensions):
        ends = {done.end(arm) for arm in arms} - {0}
        if not ends:
            break
        rates = [
            *([rates[0] ** 2 / rates[1]] if -1 in ends else []),
            *rates,
            *([rates[-1] ** 2 / rates[-2]] if 1 in ends else []),
        ]
        done = _tried(grid, rates, arms, folder, drive)
    write_json(folder / FILE, done.as_json())
    for arm in arms:
        point = done.chosen(arm)
        told = ", at the end of the grid" if done.end(arm) else ""
        print(
            f"{arm}: learning rate {point.learning_rate:g}, warm-up {point.warmup:g}{told}", file=sys.stderr
        )
    return done


def _tried(
    grid: TuningConfig, rates: list[float], arms: dict[str, Recipe], folder: Path, drive: Drive
) -> Tuning:
    places = {arm: list(points(grid, rates, recipe)) for arm, recipe in arms.items()}
    lost = drive(
        [
            Task(
                trial_recipe(grid, recipe, point),
                folder_of(folder, arm, point),
                folder.name,
                f"tuning {arm}, learning rate {point.learning_rate:g}, warm-up {point.warmup:g}",
                goal="trained",
            )
            for arm, recipe in arms.items()
            for point in places[arm]
        ]
    )
    if lost:
        raise LostRunsError(lost, "trial")
    trials = {
        arm: [_result(folder_of(folder, arm, point), point) for point in its] for arm, its in places.items()
    }
    return Tuning(grid.fraction, rates, grid.warmups, trials)


def folder_of(sweep: Path, arm: str, point: Point) -> Path:
    return sweep / arm / "tuning" / point.name


def points(grid: TuningConfig, rates: list[float], recipe: Recipe) -> Iterator[Point]:
    """The grid's places, least learning rate first; without warm-ups of its own, at the recipe's."""
    for rate, warmup in product(rates, grid.warmups or [recipe.training.warmup]):
        yield Point(rate, warmup)


def trial_recipe(grid: TuningConfig, recipe: Recipe, point: Point) -> Recipe:
    """The arm at the fraction of its budget: a decayed run of its own, never a checkpoint of a longer one."""
    return at(recipe, point).model_copy(
        update={
            "seed": SEED,
            "budget": recipe.budget.model_copy(update={"scale": recipe.budget.scale * grid.fraction}),
            "tracking": TrackingConfig(name="none"),
        }
    )


def at(recipe: Recipe, point: Point) -> Recipe:
    """The recipe with the point's learning rate and warm-up."""
    changes = {"learning_rate": point.learning_rate, "warmup": point.warmup}
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})


def _result(folder: Path, point: Point) -> Trial:
    rows = read_lines(RunFolder(folder).metrics)
    last: dict[str, Any] = rows[-1] if rows else {}
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    spent = {name: float(last.get(name, 0)) for name in ("flops", "tokens", "seconds")}
    lost = RunFolder(folder).is_("diverged") or not validated
    return Trial(point, None if lost else validated[-1], **spent)
