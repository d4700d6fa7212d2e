"""The optimiser, its groups of parameters, and the schedule of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Optimiser:
    """AdamW (Loshchilov and Hutter 2019) and its schedule over the fraction of budget spent."""

    learning_rate: float
    warmup: float = 0.05
    final: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)

    def rate_at(self, fraction: float) -> float:
        """Linear warm-up, then a cosine down to `final` x the peak."""
        if fraction < self.warmup:
            return self.learning_rate * fraction / self.warmup
        through = min((fraction - self.warmup) / (1 - self.warmup), 1.0)
        return self.learning_rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * through)))


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, vectors (biases and norms) do not."""
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
