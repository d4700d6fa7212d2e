"""Parameters of a family, and the cost of a training step in forward passes.

A training step costs three forward passes: one forward, and a backward pass of twice that. Activations that
checkpointing computes a second time are not counted, since the step does not need them. FLOPs of a forward
pass are in `archs/core/flops.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archs.config import CoreConfig
from archs.families.family import Family

FORWARDS_A_TRAINING_STEP = 3


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters.

    embedding: embedding tables (tokens, positions, types, T5's bias) and the head's matrix and bias over the
    vocabulary. core: all others.
    """

    core: int
    embedding: int

    @property
    def total(self) -> int:
        return self.core + self.embedding


def parameters(family: type[Family], config: CoreConfig) -> Parameters:
    """The parameters of a family with this configuration, counted on the meta device, without its memory."""
    with torch.device("meta"):
        module = family(config)
    tables = [part.weight for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    outside = {id(table) for table in (*tables, module.head.weight, module.head.bias)}
    sizes = {id(p): p.numel() for p in module.parameters()}
    embedding = sum(size for key, size in sizes.items() if key in outside)
    return Parameters(core=sum(sizes.values()) - embedding, embedding=embedding)
