"""What ends a run: a loss or weights that are no numbers, or a loss that explodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from archs.errors import UserError
from experiments.training.module import VALIDATIONS, Pretraining

# A uniform guess costs ln V nats a target. Losses of other terms start above that (ELECTRA's detector weighs
# 50), hence the larger of it and the first; the first alone would not do, for a mixture may begin with a part
# whose loss is small, such as a pair's. Measured at size tiny over 100 steps: at 150 x the default learning
# rate a decoder peaked at 1.3 x the larger and ELECTRA at 9.5 x, and both came back; at 5,000 x both went
# beyond 100 x and stayed lost. ELECTRA at 500 x reached 214 x and did come back: it is stopped all the same.
EXPLODED = 10


class DivergedError(UserError):
    """Training has come to an end that trying again would not change: it counts as a result."""


class Health:
    """Looks at every step's loss; without waiting for a device but where records and checkpoints do so too.

    vocabulary: its size; every: the numbers of steps between records and between checkpoints; first: the
    loss of the run's first step, None if that is yet to come. `watch` is to be called before what records a
    step, `stop` after it.
    """

    def __init__(self, vocabulary: int, every: tuple[int, ...], first: float | None) -> None:
        self.every = every
        self.found: str | None = None
        self._uniform = math.log(vocabulary)
        self._first = first
        self._tenth = -1
        self._failed: Tensor | None = None  # the first step at which something was amiss, else 0; its loss

    @property
    def allowed(self) -> float:
        """The largest loss that is none of an explosion; any number, until there is a first one."""
        return math.inf if self._first is None else EXPLODED * max(self._first, self._uniform)

    def watch(self, module: Pretraining) -> None:
        """Notes this step's loss; `found` then says what is amiss, if that is known yet."""
        assert module.loss_value is not None
        loss = module.loss_value.float()
        amiss = ~(loss.isfinite() & (loss <= self.allowed))
        here = torch.stack([amiss * module.spent.steps, loss])
        self._failed = here if self._failed is None else torch.where(self._failed[0] > 0, self._failed, here)
        if not self._due(module):
            return
        step, value = self._failed.tolist()
        if step:
            self.found = self._words(value, int(step), module.raw_tokens)
        elif self._first is None:
            self._first = loss.item()

    def stop(self, module: Pretraining) -> None:
        """Raises DivergedError if something is amiss."""
        if self.found is not None:
            raise DivergedError(self.found)

    def _due(self, module: Pretraining) -> bool:
        """The same in every process: one that stopped alone would leave the others waiting."""
        tenth = math.floor(module.progress * VALIDATIONS)
        reached, self._tenth = tenth > self._tenth, tenth
        at = any(module.spent.steps % every == 0 for every in self.every)
        return reached or at or module.finished or module.device.type == "cpu"

    def _words(self, value: float, step: int, tokens: int) -> str:
        when = f"the loss became {value:.6g} at step {step} ({step * tokens:,} tokens)"
        if not math.isfinite(value):
            return f"{when}, which is no number to learn from"
        return (
            f"{when}; at most {self.allowed:.6g} is allowed, {EXPLODED} x the larger of the first loss "
            f"({self._first:.6g}) and that of a uniform guess ({self._uniform:.6g})"
        )


def check_weights(module: Pretraining) -> None:
    """Raises DivergedError unless all weights are finite; the same in every process that holds a share."""
    named = dict(module.learner.named_parameters())
    local = [getattr(weight, "to_local", lambda weight=weight: weight)() for weight in named.values()]
    amiss = torch.stack([~each.isfinite().all() for each in local]).int()
    if module.trainer.world_size > 1:
        amiss = module.trainer.strategy.reduce(amiss, reduce_op="sum")
    names = [name for name, wrong in zip(named, amiss.tolist(), strict=True) if wrong]
    if names:
        more = f" and of {len(names) - 1} more" if len(names) > 1 else ""
        raise DivergedError(
            f"the weights of {names[0].removeprefix('family.')}{more} were no longer finite at step "
            f"{module.spent.steps} ({module.spent.tokens:,} tokens)"
        )
