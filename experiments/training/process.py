"""One of the processes that train a run together: which one it is, and with whom it ends."""

from __future__ import annotations

import os
import time

from archs.errors import UserError
from experiments.recipe.recipe import Recipe

PROCESS = "PENTARCH_PROCESS"  # which of a run's processes this one is, from 0
LOOK_SECONDS = 0.1  # how often the processes are looked at


class CrashedError(UserError):
    """A process ended badly by nobody's mistake: trying again may help."""


def is_first_process() -> bool:
    """Of the processes that train one run together: the one that writes."""
    return os.environ.get(PROCESS, "0") == "0"


def starts_others(recipe: Recipe) -> bool:
    """Whether the run is trained by other processes than this one, which starts them."""
    return recipe.training.devices > 1 and PROCESS not in os.environ


def end_with(parent: int) -> None:
    """Ends this process as soon as the one that started it has ended."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
