"""The interface of trackers, and a wrapper that keeps their errors from stopping training.

A full disk, a service that died or a server that cannot be reached is one warning. Training goes on without
the tracker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

X_AXES = ("tokens", "targets", "flops", "seconds")


class Tracker(Protocol):
    """Where the values of a run are sent.

    log      step: the optimiser's, which never falls. values: numbers, texts, tables (lists of rows, each a
             dict of texts) and pictures (boolean arrays)
    summary  the values that runs are compared by
    model    folder: a trained run's, whose weights may be uploaded
    """

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class NoTracker:
    """The tracker of tracking=none, which does nothing."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class FailSafe:
    """Wraps a tracker so that it cannot stop training. Its first exception is a warning and ends it.

    clean_up: called after that exception, for what the tracker may have left in this process.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], clean_up: Callable[[], None]) -> None:
        self.name, self._clean_up = name, clean_up
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

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # any exception: hours of training are worth more than their plot
            self._tracker = NoTracker()
            self._clean_up()
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"warning: tracking={self.name} stopped ({why}); training goes on, metrics.jsonl is whole",
                file=sys.stderr,
            )


def picture(seen: np.ndarray) -> np.ndarray:
    """Returns which token sees which, (T, T) bool, as an image with eight pixels a cell: black is seen."""
    return np.kron(~seen, np.ones((8, 8), dtype=bool)).astype(np.uint8) * 255
