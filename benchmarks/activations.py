"""Bytes that a training step keeps for its backward pass, by token and layer.

    python -m benchmarks.activations

Counts the storages that autograd saves, each once, without parameters. The difference between two depths and
two lengths cancels what does not grow with both: logits, embeddings, bfloat16 copies of weights. Counted on a
CPU, not timed; GPU kernels that fuse a norm keep less. In units of the width, for layers with a feed-forward
four times as wide and heads of 128. Half of an encoder-decoder's layers are its decoder's.
"""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.measuring import machine
from benchmarks.workload import OBJECTIVE, Ours, Shape

WIDTH, ROWS = 512, 2
DEPTHS, LENGTHS = (2, 4), (256, 512)


def kept(family: str, layers: int, length: int, autocast: bool) -> int:
    """All bytes that a step keeps for its backward pass."""
    ours = Ours(family, Shape(layers, WIDTH, WIDTH // 128, 1024, ROWS, length))
    parameters = {each.untyped_storage().data_ptr() for each in ours.learner.parameters()}
    batch, saved = ours.batch(0), []

    def save(tensor: Tensor) -> Tensor:
        saved.append(tensor)  # keeps it alive, so that no other storage gets its address
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        loss = ours.loss(batch)
    assert loss.requires_grad
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in saved}
    return sum(size for place, size in storages.items() if place not in parameters)


def of_token_and_layer(family: str, autocast: bool) -> float:
    short, long = (
        kept(family, DEPTHS[1], length, autocast) - kept(family, DEPTHS[0], length, autocast)
        for length in LENGTHS
    )
    return (long - short) / (DEPTHS[1] - DEPTHS[0]) / (ROWS * (LENGTHS[1] - LENGTHS[0]))


def main() -> None:
    table = Table(title="Bytes kept a raw token and layer, in units of the width")
    for heading in ("family", "objective", "float32", "bfloat16 autocast"):
        table.add_column(heading)
    for family, objective in OBJECTIVE.items():
        sizes = [of_token_and_layer(family, autocast) / WIDTH for autocast in (False, True)]
        table.add_row(family, objective, *(f"{size:.1f}" for size in sizes))
    console = Console()
    console.print(table)
    console.print(machine(), highlight=False)


if __name__ == "__main__":
    main()
