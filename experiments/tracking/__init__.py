"""Trackers, which show a run while it trains: W&B, TensorBoard, or only the files of the run's folder."""

from __future__ import annotations

from pathlib import Path

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.tracking.tracker import FailSafe, NoTracker, Tracker


def tracker(recipe: Recipe, folder: Path, group: str, start: int = 0) -> Tracker:
    """Returns the tracker that the recipe names. Raises UserError if it is not installed.

    start: the step that training resumes after.
    """
    check(recipe)
    if recipe.tracking.name == "none":
        return NoTracker()
    if recipe.tracking.name == "tensorboard":
        from experiments.tracking.tensorboard_run import TensorBoardRun

        return FailSafe("tensorboard", lambda: TensorBoardRun(folder, start), clean_up=lambda: None)
    from experiments.tracking.wandb_run import WandbRun, forget_service

    return FailSafe("wandb", lambda: WandbRun(recipe, folder, group), clean_up=forget_service)


def check(recipe: Recipe) -> None:
    """Raises UserError if the tracker is not installed."""
    if recipe.tracking.name != "tensorboard":
        return
    try:
        import torch.utils.tensorboard  # noqa: F401  # fails if tensorboard is missing
    except ImportError as error:
        raise UserError(
            'tracking=tensorboard needs a package that is missing: pip install "pentarch[tensorboard]", '
            "or set tracking=wandb or tracking=none"
        ) from error
