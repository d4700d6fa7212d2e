"""Where runs are followed: W&B, TensorBoard, or only the files of the run's folder.

Whatever a tracker meets, training goes on: a full disk, a service that died, a server that cannot be reached
are one line each, and the run is followed no further.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from archs.errors import UserError
from experiments.recipe import Recipe

X_AXES = ("tokens", "targets", "flops", "seconds")


class Tracker(Protocol):
    """Steps are the optimiser's and never fall. Values are numbers, texts, tables (lists of rows, each a
    dict of texts) and pictures (boolean arrays). `summary`: by what runs are compared. `model`: a trained
    run's folder, whose weights may be kept."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class NoTracker:
    """tracking=none."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class Harmless:
    """A tracker that stops nobody: at its first exception, one line, and it is asked no more.

    leave: called then, for what it may have left in this process.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], leave: Callable[[], None]) -> None:
        self.name, self._leave = name, leave
        self._tracker: Tracker = NoTracker()
        self._try(lambda: self._start(make))

    def _start(self, make: Callable[[], Tracker]) -> None:
        self._tracker = make()

    def log(self, step: int, values: dict[str, Any]) -> None:
        self._try(lambda: self._tracker.log(step, values))

    def summary(self, values: dict[str, Any]) -> None:
        self._try(lambda: self._tracker.summary(values))

    def model(self, folder: Path) -> None:
        self._try(lambda: self._tracker.model(folder))

    def finish(self) -> None:
        self._try(lambda: self._tracker.finish())

    def _try(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as error:  # whatever it is, hours of training are worth more than a picture of them
            self._tracker = NoTracker()
            self._leave()
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"warning: tracking={self.name} stopped ({why}); training goes on, metrics.jsonl is whole",
                file=sys.stderr,
            )


def picture(seen: np.ndarray) -> np.ndarray:
    """Who sees whom, (T, T) boolean, as an image of eight pixels a cell: black is seen."""
    return np.kron(~seen, np.ones((8, 8), dtype=bool)).astype(np.uint8) * 255


def tracker(recipe: Recipe, folder: Path, group: str, start: int = 0) -> Tracker:
    """The tracker that the recipe names. start: the step after which it is told more.

    Raises UserError if it is not installed.
    """
    check(recipe)
    if recipe.tracking.name == "none":
        return NoTracker()
    if recipe.tracking.name == "tensorboard":
        from experiments.tracking.tensorboard_run import TensorBoardRun

        return Harmless("tensorboard", lambda: TensorBoardRun(folder, start), leave=lambda: None)
    from experiments.tracking.wandb_run import WandbRun, forget_service

    return Harmless("wandb", lambda: WandbRun(recipe, folder, group), forget_service)


def check(recipe: Recipe) -> None:
    """Raises UserError if the tracker is not installed."""
    if recipe.tracking.name != "tensorboard":
        return
    try:
        import torch.utils.tensorboard  # noqa: F401  # it alone can tell whether it finds tensorboard
    except ImportError as error:
        raise UserError(
            'tracking=tensorboard needs a package that is missing: pip install "pentarch[tensorboard]", '
            "or set tracking=wandb or tracking=none"
        ) from error
