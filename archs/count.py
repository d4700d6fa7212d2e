"""Parameters and FLOPs, analytic. A multiply-add is two FLOPs; norms, rotations and softmax are left out.

Every stack is charged for the rows it really processes, padding and masked-out attention included: that
is what is computed. A training step costs three forward passes (one forward, two backward).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archs.family import Family
from archs.transformer import CoreConfig

FORWARDS_A_TRAINING_STEP = 3


@dataclass(frozen=True)
class Parameters:
    """`core` leaves out token and position embeddings and an untied head."""

    core: int
    embedding: int

    @property
    def total(self) -> int:
        return self.core + self.embedding


def parameters(family: type[Family], config: CoreConfig) -> Parameters:
    """Counted on the meta device: the real module, without its memory."""
    with torch.device("meta"):
        module = family(config)
    outside = {id(p) for part in (module.embedding, module.head) for p in part.parameters()}
    if module.position_embedding is not None:
        outside |= {id(module.position_embedding.weight)}
    sizes = {id(p): p.numel() for p in module.parameters()}
    embedding = sum(size for key, size in sizes.items() if key in outside)
    return Parameters(core=sum(sizes.values()) - embedding, embedding=embedding)


def stack_flops(config: CoreConfig, layers: int, rows: int, keys: int, memory: int = 0) -> int:
    """Forward FLOPs of a stack for one sequence: `rows` rows, the first `keys` of them keys.

    memory: rows of the encoder's output that every layer attends to besides.
    """
    D, F = config.width, config.ffn
    E = config.key_heads * config.head_width
    matrices = 3 if config.activation == "swiglu" else 2
    per_layer = _attention_flops(D, E, rows, keys) + 2 * rows * matrices * D * F
    if memory:
        per_layer += _attention_flops(D, E, rows, memory)
    return layers * per_layer


def _attention_flops(D: int, E: int, rows: int, keys: int) -> int:
    projections = 2 * rows * D * D + 2 * keys * D * 2 * E + 2 * rows * D * D
    scores_and_values = 2 * 2 * rows * keys * D
    return projections + scores_and_values


def head_flops(config: CoreConfig, targets: int) -> int:
    """Forward FLOPs of the LM head at `targets` positions."""
    return 2 * targets * config.width * config.vocabulary
