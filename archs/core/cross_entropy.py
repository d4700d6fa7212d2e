"""Cross-entropy straight from what the head reads: all logits are never held at once.

A chunk's logits are made, turned into its loss and at once into its gradients, and written over: at a
vocabulary of 32k the logits of a batch are larger than everything else in it. The products are those of the
plain way, not one more. One operator to the compiler, so that a graph does not change with the number of
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

# Held at once: what stays in a CPU's cache, what fills a GPU.
LOGITS = {"cpu": 2**22, "mps": 2**26, "cuda": 2**28}


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor
) -> Tensor:
    """The sum of weights x -log softmax(hidden weight^T + bias)[targets], in nats and float32.

    hidden (N,E), weight (V,E), bias (V) or None, targets (N) int64, weights (N). Gradients go to
    hidden, weight and bias, not to weights. Under autocast products are in its type, softmax and
    sums in float32.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    learnt = any(each is not None and each.requires_grad for each in (hidden, weight, bias))
    learns = torch.is_grad_enabled() and learnt
    return _nats(hidden, weight, bias, targets, weights.detach().float(), learns)[0]


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The same of logits (N,V) that are there already."""
    return (functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()


@custom_op("pentarch::linear_cross_entropy", mutates_args=())
def _nats(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, and where something learns its gradients by hidden, weight and bias; else empty ones."""
    product = weight.to(hidden.dtype)
    loss = hidden.new_zeros((), dtype=torch.float32)
    by_hidden, by_weight, by_bias = _gradients(hidden, weight, bias, learns)
    for here in chunks(len(hidden), len(weight), hidden.device):
        asked, weigh = hidden[here], weights[here, None]
        logits = asked @ product.t()
        if bias is not None:
            logits += bias
        logp, wrong = (_compiled if logits.is_cuda else _by_passes)(logits, targets[here, None], learns)
        loss -= (logp * weigh).sum()
        if wrong is not None:
            by_hidden[here] = (wrong @ product) * weigh
            weigh = weigh.to(wrong.dtype)
            if bias is not None:
                by_bias += weigh[:, 0] @ wrong
            _add_product(by_weight, wrong.t(), asked * weigh)
    return loss, by_hidden, by_weight, by_bias


def _by_passes(logits: Tensor, chosen: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """logits (n,V), chosen (n,1) -> log p(chosen) (n,1) in float32, and -log p's gradients by the logits.

    Those (n,V) in the logits' type; None if nothing learns.
    """
    dtype, logits = logits.dtype, logits.float()
    top, p = logits.amax(dim=-1, keepdim=True), logits.softmax(dim=-1)
    # The likeliest token's p is above 1/V: its logarithm is sure, where that of the target's may not be.
    logp = logits.gather(1, chosen) - top + p.amax(dim=-1, keepdim=True).log()
    return logp, p.scatter_add_(1, chosen, -torch.ones_like(logp)).to(dtype) if learns else None


def _at_once(logits: Tensor, chosen: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """The same for a compiler, which makes of it two readings of the logits and one writing."""
    dtype, logits = logits.dtype, logits.float()
    spread = logits.logsumexp(dim=-1, keepdim=True)
    logp = logits.gather(1, chosen) - spread
    if not learns:
        return logp, None
    is_chosen = torch.arange(logits.shape[1], device=logits.device) == chosen
    return logp, ((logits - spread).exp() - is_chosen.float()).to(dtype)


def _compiled(logits: Tensor, chosen: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    # Always in one mode: each of the caller's would be compiled for, up to a limit that few know of.
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        return _compiler()(logits, chosen, learns)


@cache
def _compiler() -> Any:
    return torch.compile(_at_once, dynamic=True)


def chunks(targets: int, vocabulary: int, device: torch.device) -> Iterator[slice]:
    """Which targets' logits are made together."""
    rows = max(1, LOGITS.get(device.type, LOGITS["cuda"]) // vocabulary)
    return (slice(start, min(start + rows, targets)) for start in range(0, targets, rows))


def _add_product(into: Tensor, one: Tensor, two: Tensor) -> None:
    if into.dtype == one.dtype:
        into.addmm_(one, two)
    else:
        into += one @ two


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
    """For PyTorch's counter, which does not see what an operator does inside."""
    return (3 if learns else 1) * 2 * hidden[0] * hidden[1] * weight[0]
