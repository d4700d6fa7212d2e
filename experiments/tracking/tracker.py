"""What a tracker is told, and a wrapper by which no tracker can stop training.

Whatever a tracker meets, training goes on: a full disk, a service that died and a server that cannot be
reached are one line each, and the run is followed no further.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

X_AXES = ("tokens", "targets", "flops", "seconds")


class Tracker(Protocol):
    """Steps are the optimiser's and never fall. Values are numbers, texts, tables (lists of rows, each a
    dict of texts) and pictures (boolean arrays). `summary`: by what runs are compared. `model`: a trained
    run's folder, whose weights may be kept."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class NoTracker:
    """tracking=none."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def model(self, folder: Path) -> None: ...
    def finish(self) -> None: ...


class Harmless:
    """A tracker that stops nobody: at its first exception, one line, and it is asked no more.

    leave: called then, for what it may have left in this process.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], leave: Callable[[], None]) -> None:
        self.name, self._leave = name, leave
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

    def _try(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as error:  # whatever it is, hours of training are worth more than a picture of them
            self._tracker = NoTracker()
            self._leave()
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"warning: tracking={self.name} stopped ({why}); training goes on, metrics.jsonl is whole",
                file=sys.stderr,
            )


def picture(seen: np.ndarray) -> np.ndarray:
    """Who sees whom, (T, T) boolean, as an image of eight pixels a cell: black is seen."""
    return np.kron(~seen, np.ones((8, 8), dtype=bool)).astype(np.uint8) * 255
