"""The loader: optimiser step in, batch out. Resuming is starting at a later number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from archs.batch import Batch
from experiments.module import mixed
from objectives.base import Objective, Windows

Build = Callable[[int], Batch]


def building(objective: Objective, windows: Callable[[int], Windows], seed: int, steps: int | None) -> Build:
    """step -> the global batch, a pure function of (seed, step). steps: of the whole run, None if unknown."""

    def build(step: int) -> Batch:
        fraction = None if steps is None else (step + 0.5) / steps
        here = replace(windows(step), step=step, fraction=fraction)
        return objective.build(here, torch.Generator().manual_seed(mixed(seed, step, 1)))

    return build


class Steps(Dataset[Batch]):
    """Item i is part i mod `accumulate` of optimiser step i div `accumulate`, this process's rows of it."""

    def __init__(self, build: Build, accumulate: int = 1, rank: int = 0, processes: int = 1) -> None:
        self.build = build
        self.accumulate = accumulate
        self.rank = rank
        self.processes = processes
        self._held: tuple[int, Batch] | None = None

    def __getitem__(self, item: int) -> Batch:
        step, part = divmod(item, self.accumulate)
        if self._held is None or self._held[0] != step:
            self._held = step, self.build(step)
        batch = self._held[1]
        parts = self.accumulate * self.processes
        if parts == 1:
            return batch
        rows = len(batch.tokens) // parts
        start = (part * self.processes + self.rank) * rows
        return batch.rows(slice(start, start + rows))


class From(Sampler[int]):
    """The numbers from `start` to `stop`; its length is `stop`, which is what Lightning counts against."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop


def loader(steps: Steps, start: int, stop: int) -> DataLoader[Batch]:
    """Batches of the optimiser steps from `start` to `stop`."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=From(start * steps.accumulate, stop * steps.accumulate),
        pin_memory=torch.cuda.is_available(),
    )
