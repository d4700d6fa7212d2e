"""Does information go where the mask says, and nowhere else? A public check for any family and any mask.

The Jacobian of every layer's rows against every input cell is compared with what the masks declare,
carried through the depth: a row reaches what it could reach before, and what the keys it sees reach.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from archs.batch import Batch

if TYPE_CHECKING:
    from archs.family import Family
    from archs.masks import MaskBuilder


def closure(seen: Tensor, start: Tensor, layers: int) -> list[Tensor]:
    """What each row depends on after each layer: (B,R,cells) bool, `layers` times.

    seen (B,R,K) bool: the mask of one layer, its keys the first K rows; start (B,R,cells): before it.
    """
    reached, out = start, []
    for _ in range(layers):
        through = seen.float() @ reached[:, : seen.shape[2]].float()
        reached = reached | (through > 0)
        out.append(reached)
    return out


@dataclass(frozen=True)
class Mismatch:
    """A cell of the Jacobian that is not what the mask declares. Layers count from 1."""

    layer: int
    row: int
    stream: str
    source: int
    to: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer}, batch row {self.row}: from {self.stream} position {self.source} "
            f"to position {self.to}"
        )


@dataclass(frozen=True)
class FlowReport:
    """`leaks`: measured, not declared; `silences`: declared, not measured; first layer and row first.

    declared, measured: by stream, (B,R,cells) bool after the last layer. In a permuted LM the R rows are
    T content rows and then M query rows.
    """

    leaks: list[Mismatch]
    silences: list[Mismatch]
    declared: dict[str, Tensor]
    measured: dict[str, Tensor]

    @property
    def ok(self) -> bool:
        return not self.leaks and not self.silences

    def __str__(self) -> str:
        if self.ok:
            return "information flows exactly where the mask says"
        lines = []
        if self.leaks:
            lines.append(f"{len(self.leaks)} leaks, the first at {self.leaks[0]}")
        if self.silences:
            lines.append(f"{len(self.silences)} forbidden silences, the first at {self.silences[0]}")
        return "; ".join(lines)


def check_flow(family: Family, batch: Batch, declared: MaskBuilder | None = None) -> FlowReport:
    """Compares measured with declared flow for `family` on `batch`.

    What is declared is the family's own mask (`family.reachable`), also where a user's builder is in use: a
    mask that shows more than its family allows is reported as a leak. Give that builder as `declared` to
    check the model against it instead. Runs in float64 without dropout on a copy on the CPU, where every
    backend has a backward pass in float64; costs layers x rows such passes, so give it short batches.
    """
    family, batch = copy.deepcopy(family).cpu().double().eval(), batch.to("cpu")
    expectations = family.reachable(batch, declared)
    inputs: list[Tensor] = []

    def make_leaf(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inputs.append(output.detach().requires_grad_())
        return inputs[-1]

    hook = family.embedding.register_forward_hook(make_leaf)
    try:
        layers = family.hidden(batch).layers
    finally:
        hook.remove()
    names = ["source", "tokens"] if len(inputs) == 2 else ["tokens"]
    streams = dict(zip(names, inputs, strict=True))
    leaks: list[Mismatch] = []
    silences: list[Mismatch] = []
    measured: dict[str, Tensor] = {}
    for number, output in enumerate(layers):
        measured = _depends(output, streams)
        for stream, found in measured.items():
            expected = expectations[number][stream]
            for verdict, wrong in ((leaks, found & ~expected), (silences, expected & ~found)):
                verdict += [
                    Mismatch(number + 1, row, stream, source, to)
                    for row, to, source in wrong.nonzero().tolist()
                ]
    return FlowReport(leaks, silences, expectations[-1], measured)


def _depends(output: Tensor, streams: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which input cells each row of output (B,R,D) depends on, by stream: (B,R,cells) bool.

    The gradient of a random projection is zero only where the whole Jacobian block is: batch rows do not
    mix, so one backward pass a row number serves all of them.
    """
    torch_rng = torch.Generator().manual_seed(0)
    direction = torch.randn(output.shape[-1], generator=torch_rng, dtype=output.dtype).to(output.device)
    found: dict[str, list[Tensor]] = {name: [] for name in streams}
    for row in range(output.shape[1]):
        gradients = torch.autograd.grad(
            (output[:, row] @ direction).sum(), list(streams.values()), retain_graph=True, allow_unused=True
        )
        for (name, leaf), gradient in zip(streams.items(), gradients, strict=True):
            nothing = torch.zeros(leaf.shape[:2], dtype=torch.bool, device=leaf.device)
            found[name].append(nothing if gradient is None else gradient.abs().sum(-1) > 0)
    return {name: torch.stack(rows, dim=1) for name, rows in found.items()}
