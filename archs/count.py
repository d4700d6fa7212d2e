"""Parameters and FLOPs, analytic. A multiply-add is two FLOPs; norms, rotations and softmax are left out.

Every stack is charged for the rows it really processes, padding and masked-out attention included: that
is what is computed. A training step costs three forward passes (one forward, two backward), even where
activations are computed twice to save memory: what a step needs is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archs.config import CoreConfig
from archs.families.family import Family

FORWARDS_A_TRAINING_STEP = 3


@dataclass(frozen=True)
class Parameters:
    """`core` leaves out embedding tables (tokens, positions, types, T5's bias) and the head's vocabulary."""

    core: int
    embedding: int

    @property
    def total(self) -> int:
        return self.core + self.embedding


def parameters(family: type[Family], config: CoreConfig) -> Parameters:
    """Counted on the meta device: the real module, without its memory."""
    with torch.device("meta"):
        module = family(config)
    tables = [part.weight for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    outside = {id(table) for table in (*tables, module.head.weight, module.head.bias)}
    sizes = {id(p): p.numel() for p in module.parameters()}
    embedding = sum(size for key, size in sizes.items() if key in outside)
    return Parameters(core=sum(sizes.values()) - embedding, embedding=embedding)
