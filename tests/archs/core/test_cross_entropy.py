"""The loss in chunks against the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from archs.core import cross_entropy
from archs.core.cross_entropy import linear_cross_entropy

N, E, V = 37, 12, 50


def given(biased: bool, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor, Tensor]:
    """hidden, weight, and a bias if asked; targets; weights with zeros among them."""
    rng = torch.Generator().manual_seed(0)
    shapes = [(N, E), (V, E), *([(V,)] if biased else [])]
    learnt = [torch.randn(shape, generator=rng).to(dtype).requires_grad_() for shape in shapes]
    weights = torch.rand(N, generator=rng) * (torch.rand(N, generator=rng) < 0.7)
    return learnt, torch.randint(V, (N,), generator=rng), weights


def plain(learnt: list[Tensor], targets: Tensor, weights: Tensor) -> Tensor:
    logits = functional.linear(*learnt)
    return (functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()


def chunked(learnt: list[Tensor], targets: Tensor, weights: Tensor) -> Tensor:
    bias = learnt[2] if len(learnt) == 3 else None
    return linear_cross_entropy(learnt[0], learnt[1], bias, targets, weights)


@pytest.mark.parametrize("rows", [1, 8, N, N + 1])
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradients_are_the_plain_ones_whatever_the_chunk(
    biased: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cross_entropy.LOGITS, "cpu", rows * V)
    found = []
    for way in (plain, chunked):
        learnt, targets, weights = given(biased)
        loss = way(learnt, targets, weights)
        (loss * 0.3).backward()
        found.append([loss, *(each.grad for each in learnt)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_under_autocast_the_loss_is_float32_and_the_weights_gradient_too() -> None:
    learnt, targets, weights = given(True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = chunked(learnt, targets, weights)
        expected = plain(learnt, targets, weights)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in learnt)
    torch.testing.assert_close(loss, expected, atol=0, rtol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learns", [False, True])
def test_what_is_compiled_for_a_gpu_is_the_same_loss_and_slopes(learns: bool, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    logits, targets = (9 * torch.randn(N, V, generator=rng)).to(dtype), torch.arange(N)[:, None]
    for way in (cross_entropy._fusible, torch.compile(cross_entropy._fusible, dynamic=True)):
        logp, slopes = way(logits, targets, learns)
        expected, wrong = cross_entropy._eager(logits, targets, learns)
        torch.testing.assert_close(logp, expected)
        assert (slopes is None) == (wrong is None) == (not learns)
        if learns:
            torch.testing.assert_close(
                slopes, wrong, atol=1e-6, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5
            )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiled in parts on a GPU alone")
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradients_are_the_plain_ones_on_a_gpu(
    biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cross_entropy.LOGITS, "cuda", 8 * V)
    found = []
    for way in (plain, chunked):
        learnt, targets, weights = given(biased)
        learnt = [each.detach().cuda().requires_grad_() for each in learnt]
        loss = way(learnt, targets.cuda(), weights.cuda())
        (loss * 0.3).backward()
        found.append([loss, *(each.grad for each in learnt)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_gradients_no_product_but_the_logits_is_made() -> None:
    learnt, targets, weights = given(True)
    with torch.no_grad():
        loss = chunked(learnt, targets, weights)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(learnt, targets, weights))
    assert all(part.numel() == 0 for part in cross_entropy._nats(*learnt, targets, weights, False)[1:])


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operator made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, Tensor):
                self.elements = max(self.elements, each.numel())
        return made


def test_the_logits_of_all_targets_are_never_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cross_entropy.LOGITS, "cpu", 8 * V)
    with Largest() as of_plain:
        plain(*given(True)).backward()
    learnt, targets, weights = given(True)
    with Largest() as of_chunked:  # inside the operator
        cross_entropy._nats._init_fn(learnt[0].detach(), *learnt[1:], targets, weights, True)
    assert of_plain.elements == N * V
    assert of_chunked.elements == max(8 * V, V * E)


def test_a_target_that_the_model_rules_out_costs_what_its_logits_say() -> None:
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [200.0], [100.0]])
    loss = linear_cross_entropy(hidden, weight, None, torch.tensor([0]), torch.ones(1))
    assert float(loss) == 200.0  # exp(-200) is 0 in float32


@pytest.mark.parametrize("learns", [False, True])
def test_the_flops_told_of_the_operator_are_those_counted_inside_it(learns: bool) -> None:
    learnt, targets, weights = given(False)
    hidden, weight = (each.detach() for each in learnt)
    # In bfloat16, where a chunk's part of the weight's gradient is a product that the counter sees.
    call = (hidden.bfloat16(), weight, None, targets, weights, learns)
    with FlopCounterMode(display=False) as told:
        cross_entropy._nats(*call)
    with FlopCounterMode(display=False) as inside:
        cross_entropy._nats._init_fn(*call)
    assert told.get_total_flops() == inside.get_total_flops() > 0


def test_a_bias_alone_can_be_learnt() -> None:
    (hidden, weight, bias), targets, weights = given(True)
    found = []
    for way in (plain, chunked):
        bias.grad = None
        way([hidden.detach(), weight.detach(), bias], targets, weights).backward()
        assert bias.grad is not None
        found.append(bias.grad)
    torch.testing.assert_close(*found)


def test_weights_may_be_of_any_type() -> None:
    learnt, targets, _ = given(False)
    whole = torch.arange(N) % 3
    losses = [
        chunked(learnt, targets, whole.to(dtype)) for dtype in (torch.float32, torch.int64, torch.double)
    ]
    assert len({float(loss.detach()) for loss in losses}) == 1


def test_a_second_derivative_is_refused() -> None:
    learnt, targets, weights = given(False)
    loss = chunked(learnt, targets, weights)
    (gradient,) = torch.autograd.grad(loss, learnt[0], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()
