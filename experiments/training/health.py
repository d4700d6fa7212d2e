"""Stops a run whose loss or weights are no longer finite, or whose loss explodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from archs.errors import UserError
from experiments.training.module import VALIDATIONS, Pretraining

# A loss explodes if it exceeds EXPLODED x the larger of two losses: that of a uniform guess (ln V nats a
# target) and that of the first step. The uniform guess alone would not do: some losses start above it
# (ELECTRA's detector has weight 50). Nor would the first step alone: a mixture may begin with a part of small
# loss, such as a sentence pair's. Measured at size tiny over 100 steps: at 150 x the default learning rate a
# decoder peaked at 1.3 x the larger of the two and ELECTRA at 9.5 x, and both recovered; at 5,000 x both went
# beyond 100 x and did not. ELECTRA at 500 x reached 214 x and did recover: this limit stops it all the same.
EXPLODED = 10


class DivergedError(UserError):
    """Training diverged. Trying again would end the same way, so it counts as a result."""


class Health:
    """Checks the loss of every step, and waits for the device only where records and checkpoints wait anyway.

    vocabulary: number of tokens; every: steps between records, and steps between checkpoints; first: loss of
    the run's first step, None before that step. Call `watch` before a step is recorded, and `stop` after it.
    problem: what is wrong; None if nothing is known to be.
    """

    def __init__(self, vocabulary: int, every: tuple[int, ...], first: float | None) -> None:
        self.every = every
        self.problem: str | None = None
        self._uniform = math.log(vocabulary)
        self._first = first
        self._tenth = -1
        self._failed: Tensor | None = None  # (first bad step, or 0; its loss)

    @property
    def allowed(self) -> float:
        """The largest loss that is no explosion; infinity until the first step's loss is known."""
        return math.inf if self._first is None else EXPLODED * max(self._first, self._uniform)

    def watch(self, module: Pretraining) -> None:
        """Notes this step's loss. At a step that checks, sets `problem` if any loss so far was bad."""
        assert module.loss_value is not None
        loss = module.loss_value.float()
        bad = ~(loss.isfinite() & (loss <= self.allowed))
        now = torch.stack([bad * module.spent.steps, loss])
        self._failed = now if self._failed is None else torch.where(self._failed[0] > 0, self._failed, now)
        if not self._checks(module):
            return
        step, value = self._failed.tolist()
        if step:
            self.problem = self._message(value, int(step), module.raw_tokens)
        elif self._first is None:
            self._first = loss.item()

    def stop(self, module: Pretraining) -> None:
        """Raises DivergedError if `watch` noticed a problem."""
        if self.problem is not None:
            raise DivergedError(self.problem)

    def _checks(self, module: Pretraining) -> bool:
        """Returns whether to read the losses at this step, which waits for the device.

        All processes answer alike: one that stopped alone would leave the others waiting.
        """
        tenth = math.floor(module.progress * VALIDATIONS)
        reached, self._tenth = tenth > self._tenth, tenth
        recorded = any(module.spent.steps % every == 0 for every in self.every)
        return reached or recorded or module.finished or module.device.type == "cpu"

    def _message(self, value: float, step: int, tokens: int) -> str:
        when = f"the loss became {value:.6g} at step {step} ({step * tokens:,} tokens)"
        if not math.isfinite(value):
            return f"{when}, which is no number to learn from"
        return (
            f"{when}; at most {self.allowed:.6g} is allowed, {EXPLODED} x the larger of the first loss "
            f"({self._first:.6g}) and that of a uniform guess ({self._uniform:.6g})"
        )


def check_weights(module: Pretraining) -> None:
    """Raises DivergedError unless all weights are finite.

    Every process must call it. All raise if one does, even where each holds a shard of the weights.
    """
    named = dict(module.learner.named_parameters())
    local = [getattr(weight, "to_local", lambda weight=weight: weight)() for weight in named.values()]
    bad = torch.stack([~each.isfinite().all() for each in local]).int()
    if module.trainer.world_size > 1:
        bad = module.trainer.strategy.reduce(bad, reduce_op="sum")
    names = [name for name, count in zip(named, bad.tolist(), strict=True) if count]
    if names:
        more = f" and of {len(names) - 1} more" if len(names) > 1 else ""
        raise DivergedError(
            f"the weights of {names[0].removeprefix('family.')}{more} were no longer finite at step "
            f"{module.spent.steps} ({module.spent.tokens:,} tokens)"
        )
