"""Orders a sweep's stages: which arm begins from which, and when each can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archs.errors import UserError, unknown
from experiments.recipe.recipe import Recipe
from experiments.sweeps.recipe import SweepRecipe

if TYPE_CHECKING:
    from experiments.sweeps.launch.task import Task


def check_stages(sweep: SweepRecipe, arms: dict[str, Recipe]) -> None:
    """Raises UserError if an `init_from` names neither an arm nor a folder, or if arms begin in a circle.

    Also if the sweep has claims, or tunes arms that begin from other arms. arms: each with `init_from` as the
    user gave it: an arm's name, or a folder's full path.
    """
    for arm, recipe in arms.items():
        begins = recipe.init_from
        if begins is None:
            continue
        if sweep.claims:
            raise UserError(
                f"arm '{arm}' begins from '{begins}', and claims are decided beside the same models from "
                "scratch; leave out claims=…, or init_from"
            )
        if begins not in arms and not Path(begins).is_dir():
            names = unknown(f"init_from of arm '{arm}':", Path(begins).name, arms)
            raise UserError(f"{names}; or give the folder of a trained run, which '{begins}' is not")
        if begins in arms and sweep.tuning is not None:
            raise UserError(
                f"arm '{arm}' begins from arm '{begins}', which is not trained yet when learning rates are "
                "tuned; set tuning=null, or init_from to the folder of a trained run"
            )
        if arm in (circle := _before(arm, arms)):
            raise UserError(
                f"init_from goes in a circle: {' from '.join((arm, *circle))}; one of them has to begin "
                "afresh"
            )


def _before(arm: str, arms: dict[str, Recipe]) -> list[str]:
    """Returns the arms that `arm` begins from, nearest first, up to one that begins elsewhere or repeats."""
    earlier: list[str] = []
    begins = arms[arm].init_from
    while begins in arms:
        earlier.append(begins)
        if begins == arm or begins in earlier[:-1]:
            break
        begins = arms[begins].init_from
    return earlier


def with_its_parent(recipe: Recipe, arms: dict[str, Recipe], sweep: str) -> Recipe:
    """Returns the recipe with an arm's name in `init_from` replaced by the folder of that arm's run.

    It is the run of the same seed.
    """
    if recipe.init_from not in arms:
        return recipe
    parent = arms[recipe.init_from].model_copy(update={"seed": recipe.seed})
    return recipe.model_copy(update={"init_from": str(parent.folder(sweep).expanduser().absolute())})


def take_in_order(
    tasks: Sequence[Task], run_tasks: Callable[[list[Task]], dict[Path, str]]
) -> dict[Path, str]:
    """Runs tasks stage by stage; returns {folder: reason} of abandoned tasks.

    A run that others begin from comes before them. If it was lost or diverged, those others are not started,
    and a line on stderr says so. run_tasks: runs the tasks of one stage, and returns the same.
    """
    from experiments.sweeps.launch.driving import tell

    lost: dict[Path, str] = {}
    for stage in stages_in_order(tasks):
        ready = []
        for task in stage:
            if reason := _reason_not_to_start(task):
                tell(task, f"not started: {reason}")
            else:
                ready.append(task)
        lost |= run_tasks(ready)
    return lost


def stages_in_order(tasks: Sequence[Task]) -> list[list[Task]]:
    """Returns the tasks as stages: the runs of a stage begin only from runs of earlier stages, or from none.

    Tasks of one stage keep their order.
    """
    by_folder = {task.folder.absolute(): task for task in tasks}

    def depth(task: Task) -> int:
        begins = task.recipe.init_from
        parent = None if begins is None else by_folder.get(Path(begins))
        return 0 if parent is None else 1 + depth(parent)

    depths = [depth(task) for task in tasks]
    return [
        [task for task, depth_of_task in zip(tasks, depths, strict=True) if depth_of_task == number]
        for number in sorted(set(depths))
    ]


def _reason_not_to_start(task: Task) -> str | None:
    """Returns why the run that the task begins from cannot serve it; None if it can, or if there is none.

    Raises UserError if the task was started before, from other weights than that run has now.
    """
    from experiments.runs.chain import check_began
    from experiments.runs.folder import RunFolder

    begins = task.recipe.init_from
    if begins is None:
        return None
    status = RunFolder(Path(begins)).status
    if status["state"] in ("trained", "done"):
        check_began(task.run, task.recipe)
        return None
    why = f" ({status['why']})" if status.get("why") else ""
    return f"'{begins}', which it begins from, is {status['state']}{why}"
