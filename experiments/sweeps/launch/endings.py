"""Tells why a worker's process ended, from its exit code and the last line of its log."""

from __future__ import annotations

import signal
from pathlib import Path

from experiments.storage.json_files import read_tail
from experiments.sweeps.launch.task import BUSY, MISTAKE, Ending
from experiments.training.signals import EXITED, stopped

INTERRUPTED = EXITED + signal.SIGINT
NAMES = {each.value: each.name for each in signal.Signals}
TAIL = 4096  # bytes at the end of a log that are read


def ending_of(code: int, log: Path) -> Ending:
    """Returns how a worker ended.

    code: its exit code; if signal N ended it, -N as in subprocess, or 128 + N as in a shell.
    """
    if code in (0, BUSY, INTERRUPTED) or stopped(code):
        return Ending("ended, with all that it did saved", crashed=False)
    if code == MISTAKE:
        return Ending(last_words(log).removeprefix("error: "), final=True)
    number = -code if code < 0 else code - EXITED
    if 0 < number <= max(NAMES):
        name = NAMES.get(number, f"signal {number}")
        hint = ", as by one that ran out of memory" if number == signal.SIGKILL else ""
        return Ending(f"its process was ended by {name}{hint}")
    return Ending(f"{last_words(log)} (exit code {code}; all of it is in {log})")


def last_words(log: Path) -> str:
    """Returns the last line of a log that is not blank, or "it said nothing"."""
    try:
        lines = read_tail(log, TAIL).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
