"""Stops training after the step at which a signal came, with what was trained saved."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from experiments.training.module import Pretraining
from experiments.training.signals import Stopped, listen


class Stop:
    """After the step at which a signal came: saves a checkpoint and raises Stopped, in all processes.

    Before that, signals do what they did: there is nothing to save. save: writes a checkpoint.
    """

    def __init__(self, save: Callable[[Pretraining], None]) -> None:
        self.save = save
        self._asked = 0
        self._listens = False

    def __call__(self, module: Pretraining) -> None:
        if not self._listens:
            # Only now: Lightning puts its own handler in place before the first step, and in several
            # processes that one talks to the others from inside the signal. In the end it puts all back.
            self._listens = True
            listen(self._hear)
        if module.finished:  # saved already, and about to end
            return
        asked = self._asked > 0
        if module.trainer.world_size > 1:  # the others may not have heard it yet, and saving needs them all
            asked = module.trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self.save(module)
            raise Stopped(self._asked or signal.SIGTERM)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
