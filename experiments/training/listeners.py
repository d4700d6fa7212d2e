"""Listeners, called after each optimiser step: records with validation, and a progress bar.

Others are in `checkpoints`, `health` and `stopping`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from archs.batch import Batch
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines
from experiments.storage.whole import append_line, write_whole
from experiments.tracking.tracker import Tracker
from experiments.training.module import VALIDATIONS, Pretraining
from experiments.training.process import is_first_process

if TYPE_CHECKING:
    from experiments.training.health import Health

REDRAW_SECONDS = 0.2  # of the progress bar


class Record:
    """Appends a record to metrics.jsonl and to the tracker.

    It does so every `every` steps, at each validation, at the last step, and where `health` has a problem.
    All processes validate, since each may hold only a shard of the weights; the first one writes.
    start: the step that the run resumes from, else 0.
    """

    def __init__(
        self,
        run: RunFolder,
        tracker: Tracker,
        every: int,
        validation: Sequence[Batch],
        start: int,
        health: Health,
    ) -> None:
        self.run, self.tracker, self.every, self.validation = run, tracker, every, validation
        self.health = health
        # Records of steps after the checkpoint are dropped: those steps are taken, and recorded, again.
        kept = [row for row in read_lines(run.metrics) if row["step"] <= start]
        if is_first_process():
            write_whole(run.metrics, "".join(json.dumps(row) + "\n" for row in kept).encode())
        self._validated = max(
            (math.floor(row["fraction"] * VALIDATIONS) for row in kept if "validation_loss" in row),
            default=-1,
        )

    def __call__(self, module: Pretraining) -> None:
        spent = module.spent
        reached = math.floor(module.progress * VALIDATIONS)
        due = reached > self._validated and self.health.problem is None
        if not (due or module.finished or spent.steps % self.every == 0 or self.health.problem):
            return
        assert module.loss_value is not None
        terms = {name: value.item() for name, value in module.loss_terms.items()}
        row: dict[str, Any] = {
            "step": spent.steps,
            "fraction": module.progress,
            **{name: value for name, value in asdict(spent).items() if name != "steps"},
            "loss": module.loss_value.item(),
            **{f"loss_{name}": value for name, value in terms.items()},
            "learning_rate": module.trainer.optimizers[0].param_groups[0]["lr"],
            "tokens_per_second": spent.tokens / max(spent.seconds, 1e-9),
        }
        if not math.isfinite(row["loss"]):
            return  # `health` stops the run and names the loss
        if due:
            self._validated = reached
            row["validation_loss"] = validation_loss(module, self.validation)
        if not is_first_process():
            return
        append_line(self.run.metrics, json.dumps(row))
        self.tracker.log(row["step"], row)


@torch.no_grad()
def validation_loss(module: Pretraining, batches: Sequence[Batch]) -> float:
    """Returns the objective's own loss on held-out text, in nats. It is not comparable across objectives."""
    module.eval()
    with module.trainer.precision_plugin.forward_context():
        total = sum(module.learner(batch.to(module.device)).value.item() for batch in batches)
    module.train()
    return total / len(batches)


class Bar:
    """Shows budget spent, loss, tokens/s and time left: a bar on a terminal, else a line for every tenth."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.live = sys.stderr.isatty()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._printed = 0  # tenths of the budget
        self._started = time.monotonic()
        self._first: float | None = None
        self._shown = 0.0

    def __call__(self, module: Pretraining) -> None:
        fraction = module.progress
        if self._first is None:
            self._first = fraction
        tenth = int(fraction * 10)
        now = time.monotonic()
        due = now - self._shown > REDRAW_SECONDS if self.live else tenth > self._printed
        if not (due or module.finished):
            return  # reading the loss waits for the device, so not at every step
        self._shown = now
        assert module.loss_value is not None
        loss = module.loss_value.item()
        speed = module.spent.tokens / max(module.spent.seconds, 1e-9)
        text = f"{loss:.2f} nats · {speed:,.0f} tok/s"
        if self.live:
            self._show(fraction, text)
            return
        self._printed = tenth
        done = fraction - self._first
        if done > 0:
            text += f" · {(now - self._started) * (1 - fraction) / done:.0f} s left"
        print(f"{self.label}: {fraction:4.0%} of budget · {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar and shows the cursor again. Call it however training ended."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, fraction: float, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=8),
                TextColumn("{task.percentage:>3.0f}% · {task.fields[text]} · left"),
                TimeRemainingColumn(compact=True),
            )
            self._task = self._bar.add_task(self.label, total=1.0, text=text)
            self._bar.start()
        self._bar.update(self._task, completed=fraction, text=text)
