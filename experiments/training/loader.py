"""The loader: optimiser step in, batch out. Resuming is starting at a later number."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.utils.data import DataLoader, Dataset

from archs.batch import Batch
from archs.errors import UserError
from experiments.data.seeds import mixed
from experiments.training.process import CrashedError, end_with
from experiments.training.signals import ASKS
from objectives.base import Objective, Windows

Build = Callable[[int], Batch]


@dataclass(frozen=True)
class Building:
    """step -> the global batch, a pure function of (seed, step). steps: of the whole run, None if unknown."""

    objective: Objective
    windows: Callable[[int], Windows]
    seed: int
    steps: int | None

    def __call__(self, step: int) -> Batch:
        fraction = None if self.steps is None else (step + 0.5) / self.steps
        here = replace(self.windows(step), step=step, fraction=fraction)
        return self.objective.build(here, torch.Generator().manual_seed(mixed(self.seed, step, 1)))


@dataclass(frozen=True)
class Steps(Dataset[list[Batch] | UserError]):
    """Item i is optimiser step i: this process's rows of the global batch, in `accumulate` parts.

    Or what a user did wrong, as a value: an exception would come from a worker with its traceback for a
    message.
    """

    build: Build
    accumulate: int = 1
    rank: int = 0
    processes: int = 1

    def __getitem__(self, step: int) -> list[Batch] | UserError:
        try:
            batch = self.build(step)
        except UserError as error:
            return error
        parts = self.accumulate * self.processes
        if parts == 1:
            return [batch]
        rows = len(batch.tokens) // parts
        starts = [(part * self.processes + self.rank) * rows for part in range(self.accumulate)]
        return [batch.rows(slice(start, start + rows)) for start in starts]


class Loader:
    """The parts of the optimiser steps from `start` to `stop`, one after another.

    Built when asked for, or ahead of time by `workers` processes in turn, a step's global batch by one
    of them; `close` ends them. Its length is that of all parts up to `stop`, against which Lightning counts.
    """

    def __init__(self, steps: Steps, start: int, stop: int, workers: int = 0) -> None:
        self._length = stop * steps.accumulate
        self._steps = DataLoader(
            steps,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            # Elsewhere it is not safe (macOS), or not there; and what is forked need not be copied.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            worker_init_fn=partial(_begin, os.getpid()) if workers else None,
            pin_memory=torch.cuda.is_available(),
        )
        self._parts = self._read()

    def __iter__(self) -> Iterator[Batch]:
        return self._parts

    def __len__(self) -> int:
        return self._length

    def _read(self) -> Generator[Batch, None, None]:
        try:
            for built in self._steps:
                if isinstance(built, UserError):
                    raise built
                yield from built
        except (ConnectionError, EOFError) as error:
            # The line to a worker, before that is seen to have ended; what a builder raises is its own.
            if not self._steps.num_workers or str(error).startswith("Caught "):
                raise
            raise worker_ended(error) from error

    def close(self) -> None:
        self._parts.close()


def worker_ended(error: Exception) -> CrashedError:
    # Its traceback holds the other workers, for whose end a process would wait for ever at its own.
    error.__traceback__ = None
    return CrashedError(
        f"a process that builds batches has ended: {error}; the same command continues, and with "
        "training.workers=0 without such processes"
    )


def _begin(trainer: int, number: int) -> None:
    """A worker: signals are for the process that trains, and it ends with that one, however that ends."""
    for each in (signal.SIGINT, *ASKS):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(trainer,), daemon=True).start()
