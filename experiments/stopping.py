"""Being told to stop: by SIGTERM, or by SIGUSR2, which a cluster sends when a job's time is nearly up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.module import Pretraining

# Windows has no SIGUSR2.
ASKS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))
EXITED = 128  # and the signal's number: the exit code of who was stopped, as shells have it


class Stopped(BaseException):
    """Training was told to stop and saved what it had; no error, as KeyboardInterrupt is none."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}, with what was trained saved")

    @property
    def code(self) -> int:
        return EXITED + self.number


def stopped(code: int) -> int:
    """The signal by which a process of that exit code was stopped after it had saved; else 0."""
    return code - EXITED if code - EXITED in ASKS else 0


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


def listen(hear: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """From now on signals that ask for an end are heard instead, until what is given back is called.

    The main thread alone can hear them.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, hear) for number in ASKS} if main else {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore
