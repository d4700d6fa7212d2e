"""Analytic FLOPs of the core. A multiply-add is two FLOPs; norms, rotations and softmax are left out.

A stack is charged for all rows that it processes, padding and masked attention included, since these are
computed.
"""

from __future__ import annotations

from archs.config import CoreConfig


def stack_flops(
    config: CoreConfig, layers: int, rows: int, keys: int, memory: int = 0, last: int | None = None
) -> int:
    """Forward FLOPs of a stack for one sequence of `rows` rows, of which the first `keys` are keys.

    memory: rows of the encoder's output, which every layer attends to as well. last: number of rows that the
    last layer computes, None = all. Widening the embeddings is included.
    """
    D, E = config.width, config.token_width
    widen = 0 if config.embedding_width is None else 2 * rows * E * D
    last = rows if last is None else last
    every = _layer_flops(config, rows, keys, memory)
    return widen + (layers - 1) * every + _layer_flops(config, last, keys, memory)


def _layer_flops(config: CoreConfig, rows: int, keys: int, memory: int) -> int:
    D = config.width
    matrices = 3 if config.gated else 2
    per_layer = _attention_flops(config, rows, keys) + 2 * rows * matrices * D * config.ffn
    if config.positions == "transformer_xl":
        scored = _distances(keys) + 2  # distances, and two kinds: types are equal or differ
        per_layer += 2 * rows * scored * config.heads * config.head_width
    if memory:
        per_layer += _attention_flops(config, rows, memory)
    return per_layer


def _distances(keys: int) -> int:
    return 2 * keys - 1  # for one document a row; packed rows have fewer


def _attention_flops(config: CoreConfig, rows: int, keys: int) -> int:
    D, A, E = config.width, config.heads * config.head_width, config.key_heads * config.head_width
    projections = 2 * rows * D * A + 2 * keys * D * 2 * E + 2 * rows * A * D
    scores_and_values = 2 * 2 * rows * keys * A
    return projections + scores_and_values


def distance_flops(config: CoreConfig, layers: int, keys: int) -> int:
    """Forward FLOPs spent once a pass, not once a sequence: Transformer-XL's projection of distances."""
    if config.positions != "transformer_xl":
        return 0
    return layers * 2 * _distances(keys) * config.width * config.heads * config.head_width


def head_flops(config: CoreConfig, targets: int) -> int:
    """Forward FLOPs of the LM head for so many targets."""
    E = config.token_width
    transform = config.width * E if config.head_transform or config.width != E else 0
    return 2 * targets * (transform + E * config.vocabulary)
