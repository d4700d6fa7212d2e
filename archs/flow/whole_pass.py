"""A check, for any family and any mask, that information flows where the mask allows and nowhere else.

It compares the Jacobian of each layer's rows, and of the logits, by each input cell with what the masks
declare, layer by layer: a row may depend on the cells on which it, or a key that it sees, depended before.
`archs.flow.cached_decoding` does the same for cached decoding.
"""

from __future__ import annotations

import copy

import torch
from einops import rearrange, repeat
from torch import Tensor

from archs.batch import Batch, MaskBuilder
from archs.core.reach import Streams
from archs.core.transformer import Stack
from archs.families.family import Family
from archs.flow.report import FlowReport, Place, compare


def check_flow(family: Family, batch: Batch, declared: MaskBuilder | None = None) -> FlowReport:
    """Compares the measured flow of `family` on `batch` with the declared flow.

    The family's own mask declares (`family.reachable`), even if a user's mask builder is in use: a mask that
    shows more than its family allows is reported as a leak. declared: a builder to compare with instead. The
    check runs in float64 without dropout on a copy on the CPU, where every backend has a backward pass in
    float64. It costs layers x rows such passes, so give it short batches.
    """
    with torch.inference_mode(False), torch.enable_grad():  # whatever mode the caller is in
        return _check_flow(copy.deepcopy(family).cpu().double().eval(), batch.to("cpu"), declared)


def _check_flow(family: Family, batch: Batch, declared: MaskBuilder | None) -> FlowReport:
    expectations = family.reachable(batch, declared)
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def make_leaf(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inputs.append(output.detach().requires_grad_())
        return inputs[-1]

    def keep_layers(
        module: torch.nn.Module, args: tuple[Tensor, ...], output: tuple[Tensor, list[Tensor]]
    ) -> None:
        outputs.extend(output[1])

    family.embedding.register_forward_hook(make_leaf)
    for stack in stacks(family):
        stack.register_forward_hook(keep_layers)
    targets = family.hidden(batch).targets
    leaves = dict(zip(expectations, inputs, strict=True))
    layers = [
        (rows, number, streams)
        for rows, each in expectations.items()
        for number, streams in enumerate(each, 1)
    ]
    places = [
        Place(rows, number, streams, _depends(output, {name: leaves[name] for name in streams}))
        for (rows, number, streams), output in zip(layers, outputs, strict=True)
    ]
    last = places[-1].declared
    places.append(
        Place(
            "tokens",
            None,
            {name: _at_targets(reached, batch) for name, reached in last.items()},
            _depends(_in_cells(family.logits(targets), batch), {name: leaves[name] for name in last}),
        )
    )
    return compare(places, batch)


def stacks(family: Family) -> list[Stack]:
    return [module for module in family.modules() if isinstance(module, Stack)]


def _at_targets(reached: Tensor, batch: Batch) -> Tensor:
    """reached (B,R,cells) of the last layer -> (B,T,cells): the same for the row that predicts each target.

    Query rows predict, if there are any; else the row at the target's own cell does.
    """
    B, T = batch.tokens.shape
    predicts = repeat(torch.arange(T), "t -> b t", b=B)
    if reached.shape[1] > T:
        assert batch.queries is not None
        slots = repeat(torch.arange(T, reached.shape[1]), "m -> b m", b=B)
        columns = batch.queries.masked_fill(batch.queries < 0, T)  # unused slots write to a spare column
        predicts = torch.zeros(B, T + 1, dtype=torch.long).scatter(1, columns, slots)[:, :T]
    rows = reached.gather(1, repeat(predicts, "b t -> b t c", c=reached.shape[2]))
    return rows & (batch.weights > 0)[:, :, None]


def _in_cells(logits: Tensor, batch: Batch) -> Tensor:
    """logits (N,V) at `batch.target_index` -> (B,T,V), 0 where there is no target."""
    used = batch.target_index >= 0
    cells = logits.new_zeros(batch.tokens.numel(), logits.shape[1])
    cells = cells.index_put((batch.target_index[used],), logits[used])
    return rearrange(cells, "(b t) v -> b t v", b=len(batch.tokens))


def _depends(output: Tensor, streams: dict[str, Tensor]) -> Streams:
    """The input cells on which each row of output (B,R,D) depends, by stream: (B,R,cells) bool.

    The gradient of a random projection is 0 only if the whole block of the Jacobian is. Rows of the batch do
    not mix, so one backward pass for each row number serves the whole batch.
    """
    torch_rng = torch.Generator().manual_seed(0)
    direction = torch.randn(output.shape[-1], generator=torch_rng, dtype=output.dtype)
    depends: dict[str, list[Tensor]] = {name: [] for name in streams}
    for row in range(output.shape[1]):
        gradients = torch.autograd.grad(
            (output[:, row] @ direction).sum(), list(streams.values()), retain_graph=True, allow_unused=True
        )
        for (name, leaf), gradient in zip(streams.items(), gradients, strict=True):
            none = torch.zeros(leaf.shape[:2], dtype=torch.bool)
            depends[name].append(none if gradient is None else gradient.abs().sum(-1) > 0)
    return {name: torch.stack(rows, dim=1) for name, rows in depends.items()}
