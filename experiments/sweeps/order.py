"""A sweep's stages: which arm begins from which, and in what order they are run."""

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
    """Raises UserError for an `init_from` that names no arm and no folder, or goes in a circle.

    Also for what cannot be decided or tuned with it. arms: each with `init_from` as it was asked for: an
    arm's name, or a folder's full path.
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
    """The arms that it begins from, nearest first, until one begins elsewhere or was met before."""
    found: list[str] = []
    begins = arms[arm].init_from
    while begins in arms:
        found.append(begins)
        if begins == arm or begins in found[:-1]:
            break
        begins = arms[begins].init_from
    return found


def with_its_parent(recipe: Recipe, arms: dict[str, Recipe], sweep: str) -> Recipe:
    """The recipe with an arm that it begins from as the folder of that arm's run of the same seed."""
    if recipe.init_from not in arms:
        return recipe
    parent = arms[recipe.init_from].model_copy(update={"seed": recipe.seed})
    return recipe.model_copy(update={"init_from": str(parent.folder(sweep).expanduser().absolute())})


def take_in_order(tasks: Sequence[Task], take: Callable[[list[Task]], dict[Path, str]]) -> dict[Path, str]:
    """Takes tasks to their end, those that others begin from first; the given up, with why.

    What begins from a run that was lost or diverged is not started, and told.
    """
    from experiments.sweeps.launch.driving import tell

    lost: dict[Path, str] = {}
    for wave in stages_in_order(tasks):
        ready = []
        for task in wave:
            if missing := _missing(task):
                tell(task, f"not started: {missing}")
            else:
                ready.append(task)
        lost |= take(ready)
    return lost


def stages_in_order(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks by how many of the others come before them, in the order given."""
    by_folder = {task.folder.absolute(): task for task in tasks}

    def depth(task: Task) -> int:
        begins = task.recipe.init_from
        parent = None if begins is None else by_folder.get(Path(begins))
        return 0 if parent is None else 1 + depth(parent)

    depths = [depth(task) for task in tasks]
    return [
        [task for task, its in zip(tasks, depths, strict=True) if its == number]
        for number in sorted(set(depths))
    ]


def _missing(task: Task) -> str | None:
    """Why the run that the task begins from cannot be begun from; None if it can. Checks what is kept."""
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
