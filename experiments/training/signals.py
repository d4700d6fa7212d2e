"""Signals that ask a process to end: SIGTERM, and SIGUSR2, which a cluster sends shortly before its limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

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
