"""Stops training when a signal asks for it: after the current step, with a checkpoint saved."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from experiments.training.module import Pretraining
from experiments.training.signals import Stopped, listen


class Stop:
    """After the step at which a signal came, saves a checkpoint and raises Stopped, in all processes.

    Before the first step ends, signals do what they did before: there is nothing to save. save: writes a
    checkpoint.
    """

    def __init__(self, save: Callable[[Pretraining], None]) -> None:
        self.save = save
        self._signal = 0  # the last that came, 0 if none did
        self._listening = False

    def __call__(self, module: Pretraining) -> None:
        if not self._listening:
            # Only now, since Lightning sets its own handler before the first step; in several processes that
            # handler talks to the others from inside the signal. Lightning restores all handlers at its end.
            self._listening = True
            listen(self._receive)
        if module.finished:  # saved already, and about to end
            return
        stops = self._signal > 0
        if module.trainer.world_size > 1:  # others may not have the signal yet, and saving needs them all
            stops = module.trainer.strategy.reduce_boolean_decision(stops, all=False)
        if stops:
            self.save(module)
            raise Stopped(self._signal or signal.SIGTERM)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
