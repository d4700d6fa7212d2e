"""The only place that turns a mask into numbers and chooses an attention backend.

Axes: B rows, H heads, Q queries, K keys, E head width.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from archs.errors import UserError
from archs.masks import CAUSAL, FULL, Mask
from archs.products import chosen

Backend = Literal["full", "is_causal", "dense", "products", "flex"]
FEW = 128  # keys, up to which a CPU is faster by plain products

log = logging.getLogger(__name__)
TAKEN: set[tuple[str, str, str]] = set()  # (backend, mask, device) of this process, for the log and audits


@dataclass(frozen=True)
class Visible:
    """A mask made concrete for one batch, shared by all layers. Make one with `visible`.

    what: for "dense" (B,1,Q,K) booleans, or what is added to the scores, -inf where hidden; for "products"
    `Added`; for "flex" a BlockMask.
    """

    backend: Backend
    what: Any = None

    def plus(self, bias: Tensor) -> Visible:
        """With bias (B,H,Q,K) on the scores of what is seen: dense or by products, whatever it was."""
        if self.backend == "full":
            return Visible("dense", bias)
        if self.backend == "products":
            return Visible("products", self.what.plus(bias))
        assert self.backend == "dense", "tell `visible` that there is a bias"
        return Visible("dense", bias.masked_fill(~self.what, float("-inf")))


@dataclass(frozen=True)
class Added:
    """What is added to the scores, very little where hidden: (B,H or 1,Q,K), None = nothing is hidden.

    sees (B,1,Q,1): 0 for a query that sees no key, else 1.
    """

    scores: Tensor | None = None
    sees: Tensor | None = None

    @classmethod
    def hiding(cls, seen: Tensor) -> Added:
        """seen (B,1,Q,K) booleans."""
        hidden = torch.zeros(seen.shape, device=seen.device).masked_fill(
            ~seen, torch.finfo(torch.float32).min
        )
        return cls(hidden, seen.any(dim=-1, keepdim=True).float())

    def plus(self, bias: Tensor) -> Added:
        return replace(self, scores=bias if self.scores is None else self.scores + bias)


def visible(
    mask: Mask,
    batch: int,
    queries: int,
    keys: int,
    device: torch.device,
    start: int | None = None,
    biased: bool = False,
    backend: Backend | None = None,
) -> Visible:
    """Chooses the backend for `mask` and materialises it once.

    start: the first query's row number where the queries are the newest rows of a cache of `keys`. With it,
    `is_causal` would be silently wrong and is never taken. biased: something is to be added to the scores
    (`Visible.plus`). `backend` forces one, for tests.
    """
    if not isinstance(mask, Mask):
        raise UserError(
            f"a mask builder returned {type(mask).__name__}; return a Mask, as archs.masks makes them"
        )
    if backend is None:
        backend = _choose(mask, queries, keys, device, start, biased)
        _say_once(backend, mask.name, device.type)
    if backend in ("full", "is_causal"):
        return Visible(backend)
    if backend == "flex":
        block = create_block_mask(
            lambda b, h, q, k: mask.rule(b, q, k), batch, None, queries, keys, device=str(device)
        )
        return Visible(backend, block)
    if backend == "products" and mask == FULL:
        return Visible(backend, Added())
    q = torch.arange(start or 0, (start or 0) + queries, device=device)
    seen = mask.dense(batch, q, torch.arange(keys, device=device)).unsqueeze(1)
    return Visible(backend, Added.hiding(seen) if backend == "products" else seen)


def _choose(
    mask: Mask, queries: int, keys: int, device: torch.device, start: int | None, biased: bool
) -> Backend:
    if device.type == "cpu" and chosen() and keys <= FEW:
        return "products"  # the fused kernel multiplies tiles too small for oneDNN
    newest = start is not None and queries == 1  # a cache's newest row comes after all others
    if mask == FULL or (mask == CAUSAL and newest):
        return "full"
    if start is not None or biased:
        return "dense"  # also for a prompt's rows: compiling FlexAttention for each length does not pay
    if mask == CAUSAL and queries == keys:
        return "is_causal"
    return "flex" if device.type == "cuda" else "dense"


def _say_once(backend: str, mask: str, device: str) -> None:
    if (backend, mask, device) not in TAKEN:
        TAKEN.add((backend, mask, device))
        log.info("attention: mask '%s' on %s goes through %s", mask, device, backend)


def prepare_to_compile() -> None:
    """Call before torch.compile of anything that attends: the note of the backend is then made while tracing.

    Traced itself, its logger would break the graph in two, and a guard on TAKEN would compile again whenever
    another mask is noted. Not a decorator, since that imports the compiler, 0.8 s for every command.
    """
    torch.compiler.assume_constant_result(_say_once)


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Visible, scale: float | None = None) -> Tensor:
    """Scaled dot-product attention of q (B,H,Q,E) over k, v (B,H',K,E), H' dividing H: (B,H,Q,E).

    `scale` defaults to 1/√E. A query that sees no key gives zeros and finite gradients in every backend.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (part.repeat_interleave(groups, dim=1) for part in (k, v))
    if seen.backend == "flex":
        call = _compiled_flex() if q.is_cuda and not torch.compiler.is_compiling() else flex_attention
        return call(q, k, v, block_mask=seen.what, scale=scale)  # type: ignore[return-value]
    if seen.backend == "products":
        return _by_products(q, k, v, seen.what, q.shape[-1] ** -0.5 if scale is None else scale)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=seen.what, is_causal=seen.backend == "is_causal", scale=scale
    )


def _by_products(q: Tensor, k: Tensor, v: Tensor, added: Added, scale: float) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)
    if added.scores is not None:
        scores = scores + added.scores
    found = scores.softmax(dim=-1).to(v.dtype) @ v
    return found if added.sees is None else found * added.sees.to(found.dtype)


@cache
def _compiled_flex() -> Any:
    # Uncompiled FlexAttention materialises all scores: right, and as slow as a dense mask.
    return torch.compile(flex_attention, dynamic=False)
