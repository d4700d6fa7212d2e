"""One of the processes that train a run together: its number, and how it ends when its parent does."""

from __future__ import annotations

import os
import time

from archs.errors import UserError
from experiments.recipe.recipe import Recipe

PROCESS = "PENTARCH_PROCESS"  # environment variable: the number of this process in its run, from 0
LOOK_SECONDS = 0.1  # between two looks at other processes


class CrashedError(UserError):
    """A process crashed, by no mistake of the user's. Trying again may help."""


def is_first_process() -> bool:
    """Returns whether this is the first of a run's processes: the only one that writes files."""
    return os.environ.get(PROCESS, "0") == "0"


def starts_others(recipe: Recipe) -> bool:
    """Returns whether this process starts others to train the run, and only watches them."""
    return recipe.training.devices > 1 and PROCESS not in os.environ


def end_with(parent: int) -> None:
    """Ends this process as soon as the one that started it has ended."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
