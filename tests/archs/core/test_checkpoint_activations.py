"""Activation checkpointing: less is kept for the backward pass, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cores import CORES
from torch import Tensor, nn

from archs import FAMILIES
from archs.core.attention import prepare_to_compile
from archs.core.transformer import Stack, checkpoint_activations


def gradients(module: nn.Module, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, [*module.parameters()], materialize_grads=True))


def bytes_kept(loss: Callable[[], Tensor]) -> int:
    """Of the tensors that a backward pass would need, each counted once."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_loss_gradients_and_what_is_drawn_next_are_the_same_to_the_last_bit(
    kind: str, changes: dict, make_family, make_batch, loss, layouts
) -> None:
    batch, found = make_batch(*layouts["packed and padded"]), []
    for checkpointed in (False, True):
        family = make_family(kind, dropout=0.3, attention_dropout=0.3, **changes).train()
        if checkpointed:
            checkpoint_activations(family)
        torch.manual_seed(1)
        value = loss(family, batch)
        found.append([value, *gradients(family, value), torch.rand(1)])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_quarter_is_kept_at_most(kind: str, make_family, make_batch, loss) -> None:
    family, batch = make_family(kind, layers=6, dropout=0.1).train(), make_batch()
    every = bytes_kept(lambda: loss(family, batch))
    checkpoint_activations(family)
    assert bytes_kept(lambda: loss(family, batch)) < every / 4


@pytest.mark.parametrize("kind", FAMILIES)
def test_blocks_run_twice_in_training_and_once_where_nothing_is_trained(
    kind: str, make_family, make_batch, loss
) -> None:
    family, ran = make_family(kind), []
    checkpoint_activations(family)
    stacks = [part for part in family.modules() if isinstance(part, Stack)]
    for stack in stacks:
        for block in stack.blocks:
            block.ffn.up.register_forward_hook(lambda *_: ran.append(1))
    blocks = sum(len(stack.blocks) for stack in stacks)
    loss(family, make_batch()).backward()
    assert len(ran) == blocks
    ran.clear()
    loss(family.train(), make_batch()).backward()
    assert len(ran) == 2 * blocks


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_checkpointed_family_compiles_into_one_graph_and_keeps_less(
    kind: str, make_family, make_batch, loss
) -> None:
    family, batch = make_family(kind, layers=3).train(), make_batch(rows=8, length=33)
    plain = loss(family, batch)
    expected = gradients(family, plain)
    prepare_to_compile()
    kept = []
    for checkpointed in (False, True):
        if checkpointed:
            checkpoint_activations(family)
        torch._dynamo.reset()
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
        kept.append(bytes_kept(lambda compiled=compiled: compiled(family, batch)))
    value = compiled(family, batch)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradients(family, value), expected)
    assert kept[1] < kept[0] / 2
    torch._dynamo.reset()
