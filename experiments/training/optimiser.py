"""The optimiser, its groups of parameters, and the schedule of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Optimiser:
    """AdamW (Loshchilov and Hutter 2019), and its learning rate over the fraction of budget spent.

    learning_rate: the peak; warmup: fraction of the budget; final: share of the peak at the end.
    """

    learning_rate: float
    warmup: float = 0.05
    final: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)

    def of(self, model: nn.Module, fused: bool) -> torch.optim.Optimizer:
        """Returns the optimiser of a model's parameters. fused: one kernel updates a whole group."""
        groups = decayed(model, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, fused=fused)

    def rate_at(self, fraction: float) -> float:
        """Returns the learning rate: linear warm-up to the peak, then a cosine down to `final` x the peak."""
        if fraction < self.warmup:
            return self.learning_rate * fraction / self.warmup
        through = min((fraction - self.warmup) / (1 - self.warmup), 1.0)
        return self.learning_rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * through)))


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns AdamW's two groups: matrices with weight decay, vectors (biases and norms) without."""
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
