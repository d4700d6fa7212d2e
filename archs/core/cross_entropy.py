"""Cross-entropy from hidden states, chunk by chunk, so that the logits of a batch are never held at once.

With a vocabulary of 32k the logits of a batch are larger than everything else in it. Here the logits of a
chunk of targets give its loss and its gradients, and are then freed. The matrix products are those of a plain
cross-entropy, and no more. The compiler sees one operator, so that a graph does not change with the number of
targets.

Axes: N targets, E width of the embeddings, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

# Logits held at once, by device: so many stay in a CPU's cache, so many fill a GPU.
LOGITS = {"cpu": 2**22, "mps": 2**26, "cuda": 2**28}


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor
) -> Tensor:
    """The sum of weights x -log softmax(hidden weight^T + bias)[targets], in nats and float32.

    hidden (N,E), weight (V,E), bias (V) or None, targets (N) int64, weights (N). Gradients go to hidden,
    weight and bias, not to weights. Under autocast, products are in its type, softmax and sums in float32.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    requires_grad = any(each is not None and each.requires_grad for each in (hidden, weight, bias))
    learns = torch.is_grad_enabled() and requires_grad
    return _nats(hidden, weight, bias, targets, weights.detach().float(), learns)[0]


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The same sum from logits (N,V)."""
    return (functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()


@custom_op("pentarch::linear_cross_entropy", mutates_args=())
def _nats(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss and its gradients by hidden, weight and bias; empty tensors in their place unless `learns`."""
    product = weight.to(hidden.dtype)
    loss = hidden.new_zeros((), dtype=torch.float32)
    by_hidden, by_weight, by_bias = _gradients(hidden, weight, bias, learns)
    for chunk in chunks(len(hidden), len(weight), hidden.device):
        states, scale = hidden[chunk], weights[chunk, None]
        logits = states @ product.t()
        if bias is not None:
            logits += bias
        log_p, by_logits = (_compiled if logits.is_cuda else _eager)(logits, targets[chunk, None], learns)
        loss -= (log_p * scale).sum()
        if by_logits is not None:
            by_hidden[chunk] = (by_logits @ product) * scale
            scale = scale.to(by_logits.dtype)
            if bias is not None:
                by_bias += scale[:, 0] @ by_logits
            _add_product(by_weight, by_logits.t(), states * scale)
    return loss, by_hidden, by_weight, by_bias


def _eager(logits: Tensor, targets: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """logits (n,V), targets (n,1) -> log p(target) (n,1) in float32, and the gradients of -log p by logits.

    The gradients are (n,V) in the logits' type; None unless `learns`.
    """
    dtype, logits = logits.dtype, logits.float()
    top, p = logits.amax(dim=-1, keepdim=True), logits.softmax(dim=-1)
    # The largest p is at least 1/V, so its logarithm is exact; the target's p may be 0.
    log_p = logits.gather(1, targets) - top + p.amax(dim=-1, keepdim=True).log()
    return log_p, p.scatter_add_(1, targets, -torch.ones_like(log_p)).to(dtype) if learns else None


def _fusible(logits: Tensor, targets: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """The same, written for the compiler: it reads the logits twice and writes them once."""
    dtype, logits = logits.dtype, logits.float()
    log_sum = logits.logsumexp(dim=-1, keepdim=True)
    log_p = logits.gather(1, targets) - log_sum
    if not learns:
        return log_p, None
    is_target = torch.arange(logits.shape[1], device=logits.device) == targets
    return log_p, ((logits - log_sum).exp() - is_target.float()).to(dtype)


def _compiled(logits: Tensor, targets: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    # In one mode always: each mode of a caller would be compiled anew, until torch's limit is reached.
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        return _compiler()(logits, targets, learns)


@cache
def _compiler() -> Any:
    return torch.compile(_fusible, dynamic=True)


def chunks(targets: int, vocabulary: int, device: torch.device) -> Iterator[slice]:
    """Slices of the targets whose logits are computed together."""
    rows = max(1, LOGITS.get(device.type, LOGITS["cuda"]) // vocabulary)
    return (slice(start, min(start + rows, targets)) for start in range(0, targets, rows))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _gradients(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, learns: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if not learns:
        return hidden.new_empty(0), weight.new_empty(0), weight.new_empty(0)
    by_bias = weight.new_empty(0) if bias is None else torch.zeros_like(bias)
    return torch.empty_like(hidden), torch.zeros_like(weight), by_bias


@_nats.register_fake
def _(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return hidden.new_empty((), dtype=torch.float32), *_gradients(hidden, weight, bias, learns)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.has_bias = inputs[2] is not None
    ctx.save_for_backward(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, upstream: Tensor, *unused: Tensor | None) -> tuple[Tensor | None, ...]:
    if any(each is not None for each in unused):
        raise RuntimeError("linear_cross_entropy has no second derivative: its gradients are made beforehand")
    by_hidden, by_weight, by_bias = ctx.saved_tensors
    by_bias = upstream * by_bias if ctx.has_bias else None
    return (upstream * by_hidden).to(by_hidden.dtype), upstream * by_weight, by_bias, None, None, None


_nats.register_autograd(_backward, setup_context=_save)


@register_flop_formula(torch.ops.pentarch.linear_cross_entropy)
def _flops(
    hidden: torch.Size,
    weight: torch.Size,
    bias: torch.Size | None,
    targets: torch.Size,
    weights: torch.Size,
    learns: bool,
    **rest: Any,
) -> int:
    """For PyTorch's FLOP counter, which does not look inside a custom operator."""
    return (3 if learns else 1) * 2 * hidden[0] * hidden[1] * weight[0]
