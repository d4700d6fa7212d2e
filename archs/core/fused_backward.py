"""Hand-written backward passes for eager mode on a CPU. They read memory less often than autograd's.

In eager mode on a CPU, the RMS norm and the rotation of queries and keys are a dozen small operators each,
forward and backward. Beside fast matrix products they would take a sixth of a training step. A GPU has fused
kernels and a compiler fuses these operators, so neither uses this file.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ENABLED = True  # tests and benchmarks that compare with autograd turn it off


def suits(x: Tensor) -> bool:
    """Whether to use this file's functions on x. With and without gradients, so that the bits are equal."""
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
    """`positions.rotate` of x (B,H,R,E), whose halves hold the pairs, by cos and sin (B,1,R,E/2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return _rotated(upstream, cos, sin, -1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    rotated = torch.empty(x.shape, dtype=x.dtype)
    (one, two), (left, right) = x.chunk(2, dim=-1), rotated.chunk(2, dim=-1)
    torch.mul(one, cos, out=left).addcmul_(two, sin, value=-sign)
    torch.mul(two, cos, out=right).addcmul_(one, sin, value=sign)
    return rotated
