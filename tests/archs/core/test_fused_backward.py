"""Backward passes by hand against numeric differences and against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archs.core import fused_backward as by_hand
from archs.core.layers import RMSNorm
from archs.core.positions import rope, rotate


def test_the_gradients_by_hand_are_those_of_numeric_differences() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 6, dtype=torch.double, generator=rng, requires_grad=True)
    weight = torch.randn(6, dtype=torch.double, generator=rng, requires_grad=True)
    angles = rope(torch.arange(4).expand(2, 4).double(), 6)
    assert torch.autograd.gradcheck(lambda x, weight: by_hand.RMSNorm.apply(x, weight, 1e-6), (x, weight))
    assert torch.autograd.gradcheck(lambda x: by_hand.Rotation.apply(x, *angles), (x,))


@pytest.mark.parametrize("strided", [False, True])
def test_norm_and_rotation_are_the_same_either_way(strided: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, 8, generator=rng) * 3
    x = x.transpose(1, 2) if strided else x.transpose(1, 2).contiguous()
    norm = RMSNorm(8, eps=1e-6)
    torch.nn.init.normal_(norm.weight, generator=rng)
    angles = rope(torch.arange(5).expand(2, 5), 8)
    found: list[list[Tensor]] = []
    for by in (True, False):
        monkeypatch.setattr(by_hand, "ENABLED", by)
        given = x.detach().requires_grad_()
        norm.weight.grad = None
        out = rotate(norm(given), angles)
        out.square().mul(torch.arange(8.0)).sum().backward()
        assert given.grad is not None
        assert norm.weight.grad is not None
        found.append([out, given.grad, norm.weight.grad])
    for ours, autograds in zip(*found, strict=True):
        torch.testing.assert_close(ours, autograds, atol=1e-4, rtol=1e-5)


def test_the_way_by_hand_is_for_float32_on_a_cpu_alone() -> None:
    x = torch.zeros(1, requires_grad=True)
    assert by_hand.suits(x)
    assert not by_hand.suits(x.bfloat16())
    assert not by_hand.suits(x.to("meta"))


def test_with_gradients_or_without_the_bits_are_the_same() -> None:
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    norm, angles = RMSNorm(8, eps=1e-6), rope(torch.arange(5).expand(2, 5), 8)
    with torch.inference_mode():
        without = rotate(norm(x), angles)
    assert torch.equal(rotate(norm(x), angles), without)
