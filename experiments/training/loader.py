"""Builds the batches of optimiser steps, by number. A resumed run starts at a later number."""

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
from experiments.training.signals import STOP_SIGNALS
from objectives.base import Objective, Windows

Build = Callable[[int], Batch]


@dataclass(frozen=True)
class Building:
    """Builds the global batch of a step, as a pure function of (seed, step).

    steps: optimiser steps of the whole run, None if only the clock stops it.
    """

    objective: Objective
    windows: Callable[[int], Windows]
    seed: int
    steps: int | None

    def __call__(self, step: int) -> Batch:
        fraction = None if self.steps is None else (step + 0.5) / self.steps
        windows = replace(self.windows(step), step=step, fraction=fraction)
        return self.objective.build(windows, torch.Generator().manual_seed(mixed(self.seed, step, 1)))


@dataclass(frozen=True)
class Steps(Dataset[list[Batch] | UserError]):
    """Item i is optimiser step i: this process's rows of the global batch, in `accumulate` parts.

    A UserError is returned, not raised: an exception of a worker process arrives with its traceback as the
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
    """Yields the parts of the optimiser steps from `start` to `stop`, one after another.

    With `workers` processes, each builds whole steps in turn, ahead of time; `close` ends them. With none, a
    step is built when it is needed. The length counts all parts from step 0 to `stop`, as Lightning expects.
    """

    def __init__(self, steps: Steps, start: int, stop: int, workers: int = 0) -> None:
        self._length = stop * steps.accumulate
        self._steps = DataLoader(
            steps,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            # A forked worker shares the windows instead of copying them. On macOS a fork is not safe, on
            # Windows there is no fork.
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
            # A worker has died, and its pipe broke before torch noticed. "Caught …" is torch's message for an
            # error raised inside a worker, which is the builder's own.
            if not self._steps.num_workers or str(error).startswith("Caught "):
                raise
            raise worker_ended(error) from error

    def close(self) -> None:
        self._parts.close()


def worker_ended(error: Exception) -> CrashedError:
    """Returns the error for a worker that died: what happened, and what to do."""
    # The traceback keeps the other workers alive, and this process would wait for them for ever when it ends.
    error.__traceback__ = None
    return CrashedError(
        f"a process that builds batches has ended: {error}; the same command continues; "
        "training.workers=0 builds them without such processes"
    )


def _begin(trainer: int, worker: int) -> None:
    """Sets up a worker: it ignores signals that ask for an end, and ends as soon as process `trainer` has.

    The signals are for the process that trains.
    """
    for number in (signal.SIGINT, *STOP_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(trainer,), daemon=True).start()
