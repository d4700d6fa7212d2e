"""Signals that ask a process to save and end: SIGTERM, and SIGUSR2, by which a cluster announces a limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

# Windows has no SIGUSR2.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))
EXITED = 128  # plus the signal's number: the exit code of a process that a signal stopped, as in a shell


class Stopped(BaseException):
    """A signal stopped training after a checkpoint was saved. Like KeyboardInterrupt, it is no error."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}, with what was trained saved")

    @property
    def code(self) -> int:
        return EXITED + self.number


def stopped(code: int) -> int:
    """Returns the signal that stopped a process of this exit code after it had saved; 0 if none did."""
    return code - EXITED if code - EXITED in STOP_SIGNALS else 0


def listen(handler: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """Sets `handler` for the signals that ask for an end; returns a function that restores the earlier ones.

    Does nothing outside the main thread, the only one that may set handlers.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS} if main else {}

    def restore() -> None:
        for number, earlier in before.items():
            signal.signal(number, earlier)

    return restore
