"""The only place that turns a mask into numbers and chooses an attention backend.

Axes: B rows, H heads, Q queries, K keys, E head width.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from archs.core.matrix_products import chosen
from archs.errors import UserError
from archs.masks import CAUSAL, FULL, Mask

Backend = Literal["full", "is_causal", "dense", "products", "flex"]
FEW = 128  # keys, up to which a CPU is faster by plain products
SOME = 1024  # keys, up to which a GPU is faster under a dense mask than by blocks

log = logging.getLogger(__name__)
TAKEN: set[tuple[str, str, str]] = set()  # (backend, mask, device) of this process, for the log and audits


@dataclass(frozen=True)
class Visible:
    """A mask made concrete for one batch, shared by all layers. Make one with `visible`.

    what: for "dense" and "products" `Added`; for "flex" a BlockMask.
    """

    backend: Backend
    what: Any = None

    def plus(self, bias: Tensor) -> Visible:
        """With bias (B,H,Q,K) on the scores of what is seen: dense or by products, whatever it was."""
        if self.backend == "full":
            return Visible("dense", Added(bias))
        assert self.backend in ("dense", "products"), "tell `visible` that there is a bias"
        return Visible(self.backend, self.what.plus(bias))


@dataclass(frozen=True)
class Added:
    """What is added to the scores, very little where hidden: (B,H or 1,Q,K), None = nothing is hidden.

    As booleans: nothing is added to what is seen. sees (B,1,Q,1): 0 for a query that sees no key, else 1;
    None where the backend knows by itself.
    """

    scores: Tensor | None = None
    sees: Tensor | None = None

    @classmethod
    def hiding(cls, seen: Tensor) -> Added:
        """seen (B,1,Q,K) booleans."""
        hidden = torch.zeros(seen.shape, device=seen.device)
        return cls(hidden.masked_fill(~seen, lowest(hidden)), seeing(seen).float())

    def plus(self, bias: Tensor) -> Added:
        if self.scores is None:
            return replace(self, scores=bias)
        if self.scores.dtype != torch.bool:
            return replace(self, scores=self.scores + bias)
        sees = seeing(self.scores) if self.sees is None else self.sees
        return Added(bias.masked_fill(~self.scores, lowest(bias)), sees)

    def mend(self, found: Tensor) -> Tensor:
        """found (B,H,Q,E), zero where nothing is seen: what a kernel gives there is anything but nan."""
        return found if self.sees is None else found * self.sees.to(found.dtype)


def lowest(scores: Tensor) -> float:
    """Below any score that they may have, and still a number: minus infinity alone in a row gives nan."""
    return torch.finfo(scores.dtype).min


def seeing(seen: Tensor) -> Tensor:
    """(B,1,Q,K) booleans -> (B,1,Q,1): whether a query sees any key."""
    return seen.any(dim=-1, keepdim=True)


def visible(
    mask: Mask,
    batch: int,
    queries: int,
    keys: int,
    device: torch.device,
    start: int | None = None,
    biased: bool = False,
    drops: bool = False,
    backend: Backend | None = None,
) -> Visible:
    """Chooses the backend for `mask` and materialises it once.

    start: the first query's row number where the queries are the newest rows of a cache of `keys`. With it,
    `is_causal` would be silently wrong and is never taken. biased: something is to be added to the scores
    (`Visible.plus`). drops: `attend` is to drop weights. `backend` forces one, for tests.
    """
    if not isinstance(mask, Mask):
        raise UserError(
            f"a mask builder returned {type(mask).__name__}; return a Mask, as archs.masks makes them"
        )
    if backend is None:
        backend = _choose(mask, queries, keys, device, start, biased, drops)
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
    if backend == "products":
        return Visible(backend, Added.hiding(seen))
    # cuDNN gives a query that sees nothing the mean of all values; a CPU's kernels give it zeros.
    return Visible(backend, Added(seen, seeing(seen) if device.type == "cuda" else None))


def _choose(
    mask: Mask,
    queries: int,
    keys: int,
    device: torch.device,
    start: int | None,
    biased: bool,
    drops: bool = False,
) -> Backend:
    if device.type == "cpu" and chosen() and keys <= FEW:
        return "products"  # the fused kernel multiplies tiles too small for oneDNN
    newest = start is not None and queries == 1  # a cache's newest row comes after all others
    if mask == FULL or (mask == CAUSAL and newest):
        return "full"
    if start is not None or biased:
        return "dense"
    if mask == CAUSAL and queries == keys:
        return "is_causal"
    # FlexAttention has no dropout, and uncompiled it materialises all scores.
    by_blocks = device.type == "cuda" and keys > SOME and not drops and torch.compiler.is_compiling()
    return "flex" if by_blocks else "dense"


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


def attend(
    q: Tensor, k: Tensor, v: Tensor, seen: Visible, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention of q (B,H,Q,E) over k, v (B,H',K,E), H' dividing H: (B,H,Q,E).

    `scale` defaults to 1/√E. A query that sees no key gives zeros and finite gradients in every backend.
    dropout: the share of weights set to 0, drawn anew at each call; the others grow by 1/(1 - dropout).
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (repeat(part, "b h k e -> b (h group) k e", group=groups) for part in (k, v))
    if seen.backend == "flex":
        if dropout:
            raise ValueError("FlexAttention drops no weights: tell `visible` that attention drops")
        return flex_attention(q, k, v, block_mask=seen.what, scale=scale)  # type: ignore[return-value]
    if seen.what is None:
        return functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=seen.backend == "is_causal", scale=scale
        )
    if seen.backend == "products":
        factor = q.shape[-1] ** -0.5 if scale is None else scale
        return seen.what.mend(_by_products(q, k, v, seen.what.scores, factor, dropout))
    scores = seen.what.scores
    if scores.dtype not in (torch.bool, q.dtype):  # what is lowest in float32 is infinite in bfloat16
        scores = scores.to(q.dtype).clamp(min=lowest(q))
    return seen.what.mend(
        functional.scaled_dot_product_attention(q, k, v, attn_mask=scores, dropout_p=dropout, scale=scale)
    )


def _by_products(
    q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, scale: float, dropout: float
) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)
    if added is not None:
        scores = scores + added
    weights = scores.softmax(dim=-1).to(v.dtype)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v
