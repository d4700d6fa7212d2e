"""Backward passes written by hand, for a CPU without a compiler: fewer readings of memory than autograd's.

On a CPU the RMS norm and the rotation of queries and keys are made of a dozen small operators each, forth and
back; beside fast products they would take a sixth of a training step. A GPU has kernels, and a compiler
fuses: both do without this.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ENABLED = True  # what compares with autograd turns it off


def suits(x: Tensor) -> bool:
    """Whether what is computed from x should go through this file, with gradients or without: equal bits."""
    return (
        ENABLED and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    )


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, x (…,D), weight (D)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # type: ignore[override]
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x, weight, scale = ctx.saved_tensors
        normed = x * scale
        by_weight = upstream * normed
        along = (by_weight @ weight).div_(x.shape[-1]).unsqueeze(-1)
        by_x = (upstream * weight).addcmul_(normed, along, value=-1).mul_(scale)
        return by_x, by_weight.flatten(0, -2).sum(0), None


class Rotation(torch.autograd.Function):
    """As `positions.rotate`: x (B,H,R,E), whose halves hold the pairs, by cos, sin (B,1,R,E/2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return _turned(upstream, cos, sin, -1), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    turned = torch.empty(x.shape, dtype=x.dtype)
    (one, two), (left, right) = x.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    torch.mul(one, cos, out=left).addcmul_(two, sin, value=-way)
    torch.mul(two, cos, out=right).addcmul_(one, sin, value=way)
    return turned
