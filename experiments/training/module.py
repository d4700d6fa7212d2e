"""The LightningModules of pretraining and finetuning: the optimiser, its learning rate, what is spent.

They build no mask, compute no loss and know no family.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

import lightning
import torch
from torch import Tensor

from archs.batch import Batch
from experiments.budget.spent import Spent
from experiments.data.seeds import mixed
from experiments.training.devices import shard
from experiments.training.learner import Learner
from experiments.training.optimiser import Optimiser

VALIDATIONS = 10  # of a run, evenly over its budget


class Training(lightning.LightningModule):
    """Trains a learner with AdamW; the learning rate follows the fraction of the budget that is spent.

    Each batch reseeds torch from (seed, step, part of the step, rank), so a resumed run draws the same.
    steps: optimiser steps that the schedule spans, fixed beforehand.
    """

    def __init__(self, learner: Learner, optimiser: Optimiser, steps: int, seed: int) -> None:
        super().__init__()
        self.learner = learner
        self.optimiser = optimiser
        self.steps = steps
        self.seed = seed
        self.spent = Spent()

    @property
    def fraction(self) -> float:
        """Share of the budget spent at the middle of the next step. It is never 0, so no step has rate 0."""
        return (self.spent.steps + 0.5) / self.steps

    def configure_model(self) -> None:
        if self.device_mesh is not None:
            shard(self.learner, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimiser.of(self.learner, fused=not self._scaled)

    @property
    def _scaled(self) -> bool:
        """Whether gradients are scaled up, as in float16.

        A fused optimiser would unscale them itself, after the clip: too late.
        """
        return self.trainer.precision == "16-mixed"

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if self._scaled:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        # Lightning refuses to clip for a fused optimiser in bfloat16, though nothing is scaled there.
        assert gradient_clip_val is not None, "make_trainer always clips"
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, gradient_clip_val)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        # Lightning would wait until the device has finished all work queued before.
        return batch.to(device, non_blocking=device.type == "cuda")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        part = batch_idx % self.trainer.accumulate_grad_batches
        torch.manual_seed(mixed(self.seed, self.spent.steps, part, self.global_rank))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.optimiser.rate_at(self.fraction)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        loss = self.learner(batch)
        # A term is a sum divided by the global batch's total already. This undoes Lightning's division by
        # accumulation steps and DDP's by processes, so that neither changes the loss.
        scale = self.trainer.accumulate_grad_batches * self.trainer.world_size
        return {"loss": loss.value * scale, "value": loss.value.detach(), "terms": loss.terms}


class Finetuning(Training):
    """Training for a task: a fixed number of steps, of which only the number is counted."""

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.spent.steps += 1


class Pretraining(Training):
    """Training on raw text. `spent` grows with each optimiser step and is kept in checkpoints.

    loss_value, loss_terms: of the last step, detached: the loss that is minimised, and {name: value} of the
    terms that it sums, without their weights. raw_tokens: of one optimiser step; seconds: the budget if time
    stops the run, else None; after_step: called with this module after each optimiser step, when `spent` is
    up to date.
    """

    def __init__(
        self,
        learner: Learner,
        optimiser: Optimiser,
        steps: int,
        seed: int,
        raw_tokens: int,
        seconds: float | None = None,
        after_step: Sequence[Listener] = (),
    ) -> None:
        super().__init__(learner, optimiser, steps, seed)
        self.raw_tokens = raw_tokens
        self.seconds = seconds
        self.after_step = after_step
        self.loss_value: Tensor | None = None
        self.loss_terms: dict[str, Tensor] = {}
        self._started = 0.0

    @property
    def progress(self) -> float:
        """Share of the budget spent, at most 1."""
        if self.seconds is None:
            return min(self.spent.steps / self.steps, 1.0)
        return min(self.spent.seconds / self.seconds, 1.0)

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.progress >= 1.0

    @property
    def fraction(self) -> float:
        return super().fraction if self.seconds is None else self.progress

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.loss_value, self.loss_terms = None, {}
            self._started = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        parts = self.trainer.accumulate_grad_batches
        value = outputs["value"]
        self.loss_value = value if self.loss_value is None else self.loss_value + value
        for name, value in outputs["terms"].items():
            self.loss_terms[name] = self.loss_terms.get(name, torch.zeros_like(value)) + value
        # Each process and accumulation step holds an equal share of the global batch.
        self.spent.flops += self.learner.objective.flops(self.learner.family, batch) * self.trainer.world_size
        if (batch_idx + 1) % parts:
            return
        self.spent.steps += 1
        self.spent.tokens += self.raw_tokens
        self.spent.targets += self.learner.objective.supervised(batch)
        if self.seconds is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # count the work itself, not only the time to queue it
        self.spent.seconds += time.perf_counter() - self._started
        if self.trainer.world_size > 1:
            self._agree()
        if self.finished:
            self.trainer.should_stop = True
        for act in self.after_step:
            act(self)

    def _agree(self) -> None:
        """Sums the loss over the processes, and gives all of them the first one's clock.

        By its own clock each process would stop, and set learning rates, at another step.
        """
        strategy = self.trainer.strategy
        self.loss_value = cast(Tensor, strategy.reduce(self.loss_value, reduce_op="sum"))
        self.loss_terms = {
            name: cast(Tensor, strategy.reduce(value, reduce_op="sum"))
            for name, value in self.loss_terms.items()
        }
        if self.seconds is not None:
            self.spent.seconds = strategy.broadcast(self.spent.seconds)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["spent"] = asdict(self.spent)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.spent = Spent(**checkpoint["spent"])


Listener = Callable[[Pretraining], None]
