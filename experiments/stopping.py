"""Being told to stop: by SIGTERM, or by SIGUSR2, which a cluster sends when a job's time is nearly up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from experiments.module import Pretraining

ASKS = (signal.SIGTERM, signal.SIGUSR2)


class Stopped(BaseException):
    """No error, as KeyboardInterrupt is none: training was told to stop, and saved what it had. number: of the signal."""

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}, saved at step {step}")


class Stop:
    """After the step at which a signal came: saves a checkpoint, then raises Stopped, in all processes of a run.

    Before that, signals do what they did: there is nothing to save. save: writes a checkpoint.
    """

    def __init__(self, save: Callable[[Pretraining], None]) -> None:
        self.save = save
        self._asked = 0
        self._before: dict[int, Any] = {}

    def __call__(self, module: Pretraining) -> None:
        if not self._before:
            self._listen()
        if module.finished:  # saved already, and about to end
            return
        asked = self._asked > 0
        if module.trainer.world_size > 1:  # the others may not have heard it yet, and saving needs them all
            asked = module.trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self.save(module)
            raise Stopped(self._asked or signal.SIGTERM, module.spent.steps)

    def close(self) -> None:
        """Signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _listen(self) -> None:
        # Only now: Lightning puts its own handler in place before the first step, and in several processes that
        # one talks to the others from inside the signal.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in ASKS}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
