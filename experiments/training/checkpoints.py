"""Checkpoints whose names hold a hash of their content.

The two newest are kept. If the newest is damaged, the run resumes from the other.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from experiments.runs.folder import RunFolder
from experiments.storage.disk import flush
from experiments.storage.json_files import read_lines
from experiments.storage.whole import write_whole
from experiments.training.health import check_weights
from experiments.training.module import Pretraining

KEPT = 2  # checkpoints of a run
DIGITS = 16  # of the SHA-256 in a checkpoint's name
NAME = re.compile(rf"step(\d+)-([0-9a-f]{{{DIGITS}}})\.ckpt")


@dataclass(frozen=True)
class Saved:
    """One checkpoint on disk, `checkpoints/step<n>-<digest>.ckpt`.

    step: optimiser steps taken before it; digest: first digits of the SHA-256 of the bytes that were written.
    """

    path: Path
    step: int
    digest: str

    @property
    def sound(self) -> bool:
        """Whether the file still holds the bytes that were written."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest().startswith(self.digest)


def saved(run: RunFolder) -> list[Saved]:
    """Returns all checkpoints of a run, sound and damaged ones, newest first."""
    named = ((path, NAME.fullmatch(path.name)) for path in run.checkpoints.glob("*.ckpt"))
    checkpoints = [Saved(path, int(name[1]), name[2]) for path, name in named if name]
    return sorted(checkpoints, key=lambda each: (each.step, each.path.name), reverse=True)


def newest_sound(run: RunFolder, log_every: int, tell: bool = True) -> Saved | None:
    """Returns the checkpoint to resume from; None if the run must start from the beginning.

    Two kinds of checkpoint are skipped, and with `tell` a warning on stderr names each:
    - a damaged one;
    - one whose records are not all in metrics.jsonl (step 1, then every `log_every` steps), since resuming
      from it would leave a gap there.
    The final weights are the same bits whichever checkpoint the run resumes from, or none: training is a
    function of the recipe.
    """
    every = saved(run)
    recorded = {row["step"] for row in read_lines(run.metrics)} if every else set()
    for number, each in enumerate(every, start=1):
        if not each.sound:
            problem = f"checkpoint '{each.path}' is damaged"
        elif not {1, *range(log_every, each.step + 1, log_every)} <= recorded:
            problem = f"'{run.metrics}' is damaged and holds less than checkpoint '{each.path.name}' needs"
        else:
            return each
        if tell:
            then = "no other is there, so the run starts from the beginning"
            if number < len(every):
                then = f"the one before it, of step {every[number].step}, is tried"
            print(f"warning: {problem}; {then}", file=sys.stderr, flush=True)
    return None


class NamedByContent(TorchCheckpointIO):
    """Writes each checkpoint under a name of its own, with the step and the hash of the content.

    Only the folder of the path that Lightning gives is used. A checkpoint is written whole or not at all.
    """

    def __init__(self) -> None:
        self.written: Saved | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:DIGITS]
        step = checkpoint["spent"]["steps"]
        self.written = Saved(Path(path).with_name(f"step{step}-{digest}.ckpt"), step, digest)
        write_whole(self.written.path, buffer.getvalue())


class Checkpoint:
    """Saves a checkpoint every `every` steps and at the end.

    An older checkpoint is deleted only after the new one is in place. resumed: the checkpoint that the run
    resumes from.
    """

    def __init__(self, run: RunFolder, every: int, resumed: Saved | None) -> None:
        self.run, self.every = run, every
        self._writer = NamedByContent()
        self._kept = [] if resumed is None else [resumed]
        self._step = 0 if resumed is None else resumed.step

    def __call__(self, module: Pretraining) -> None:
        if module.spent.steps % self.every == 0 or module.finished:
            self.save(module)

    def save(self, module: Pretraining) -> None:
        """Saves a checkpoint now, unless this step has one. Every process of the run must call it."""
        if self._step == module.spent.steps:
            return
        self._step = module.spent.steps
        check_weights(module)
        if self.run.metrics.exists():  # the checkpoint is of use only with all records before it
            flush(self.run.metrics)
        module.trainer.strategy.checkpoint_io = self._writer
        module.trainer.save_checkpoint(self.run.checkpoints / "next.ckpt")
        if self._writer.written is None:  # another process wrote it
            return
        self._kept = [*self._kept, self._writer.written][-KEPT:]
        for each in saved(self.run):
            if each not in self._kept:
                each.path.unlink(missing_ok=True)
