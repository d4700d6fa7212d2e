"""Attention: the one place that turns a mask into numbers and chooses a backend.

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
PRODUCTS_UP_TO = 128  # keys: up to so many, plain matrix products are faster on a CPU
DENSE_UP_TO = 1024  # keys: up to so many, a dense mask is faster on a GPU than FlexAttention's blocks

log = logging.getLogger(__name__)
TAKEN: set[tuple[str, str, str]] = set()  # (backend, mask, device) used in this process, for logs and audits


@dataclass(frozen=True)
class Visible:
    """A mask made concrete for one batch, shared by all layers. Make one with `visible`.

    mask: a `ScoreMask` for "dense" and "products", a BlockMask for "flex", None for the others.
    """

    backend: Backend
    mask: Any = None

    def plus(self, bias: Tensor) -> Visible:
        """The same mask with bias (B,H,Q,K) added to the scores of visible keys; "full" becomes "dense"."""
        if self.backend == "full":
            return Visible("dense", ScoreMask(bias))
        assert self.backend in ("dense", "products"), "tell `visible` that there is a bias"
        return Visible(self.backend, self.mask.plus(bias))


@dataclass(frozen=True)
class ScoreMask:
    """The mask of attention scores.

    scores (B,H or 1,Q,K): numbers to add, very low where a key is hidden; or booleans, True = visible. None:
    no key is hidden. sees (B,1,Q,1): 0 for a query that sees no key, else 1; None where the backend gives
    zeros for such a query by itself.
    """

    scores: Tensor | None = None
    sees: Tensor | None = None

    @classmethod
    def of(cls, seen: Tensor) -> ScoreMask:
        """seen (B,1,Q,K) booleans."""
        zeros = torch.zeros(seen.shape, device=seen.device)
        return cls(zeros.masked_fill(~seen, lowest(zeros)), sees_any_key(seen).float())

    def plus(self, bias: Tensor) -> ScoreMask:
        if self.scores is None:
            return replace(self, scores=bias)
        if self.scores.dtype != torch.bool:
            return replace(self, scores=self.scores + bias)
        sees = sees_any_key(self.scores) if self.sees is None else self.sees
        return ScoreMask(bias.masked_fill(~self.scores, lowest(bias)), sees)

    def zero_blind_queries(self, attended: Tensor) -> Tensor:
        """attended (B,H,Q,E), with zeros for queries that see no key, where kernels give any number."""
        return attended if self.sees is None else attended * self.sees.to(attended.dtype)


def lowest(scores: Tensor) -> float:
    """The lowest finite number of this type: a row of minus infinities would give nan."""
    return torch.finfo(scores.dtype).min


def sees_any_key(seen: Tensor) -> Tensor:
    """seen (B,1,Q,K) booleans -> (B,1,Q,1)."""
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
    """Chooses a backend for `mask` and materialises the mask once.

    start: row number of the first query, if the queries are the newest rows of a cache of `keys` rows. The
    backend `is_causal` would then be silently wrong, so it is not used. biased: a bias will be added to the
    scores (`Visible.plus`). drops: `attend` will drop attention weights. backend: use this one, for tests.

    Raises UserError if `mask` is no Mask.
    """
    if not isinstance(mask, Mask):
        raise UserError(
            f"a mask builder returned {type(mask).__name__}; return a Mask, as archs.masks makes them"
        )
    if backend is None:
        backend = _choose(mask, queries, keys, device, start, biased, drops)
        _note_backend(backend, mask.name, device.type)
    if backend in ("full", "is_causal"):
        return Visible(backend)
    if backend == "flex":
        block = create_block_mask(
            lambda b, h, q, k: mask.rule(b, q, k), batch, None, queries, keys, device=str(device)
        )
        return Visible(backend, block)
    if backend == "products" and mask == FULL:
        return Visible(backend, ScoreMask())
    q = torch.arange(start or 0, (start or 0) + queries, device=device)
    seen = mask.dense(batch, q, torch.arange(keys, device=device)).unsqueeze(1)
    if backend == "products":
        return Visible(backend, ScoreMask.of(seen))
    # For a query that sees no key, cuDNN gives the mean of all values; the CPU's kernels give zeros.
    return Visible(backend, ScoreMask(seen, sees_any_key(seen) if device.type == "cuda" else None))


def _choose(
    mask: Mask,
    queries: int,
    keys: int,
    device: torch.device,
    start: int | None,
    biased: bool,
    drops: bool = False,
) -> Backend:
    if device.type == "cpu" and chosen() and keys <= PRODUCTS_UP_TO:
        return "products"  # the fused kernel multiplies tiles too small for oneDNN
    newest = start is not None and queries == 1  # the newest row of a cache comes after all others
    if mask == FULL or (mask == CAUSAL and newest):
        return "full"
    if start is not None or biased:
        return "dense"
    if mask == CAUSAL and queries == keys:
        return "is_causal"
    # FlexAttention has no dropout. Uncompiled, it materialises all scores.
    long_on_gpu = device.type == "cuda" and keys > DENSE_UP_TO
    return "flex" if long_on_gpu and not drops and torch.compiler.is_compiling() else "dense"


def _note_backend(backend: str, mask: str, device: str) -> None:
    if (backend, mask, device) not in TAKEN:
        TAKEN.add((backend, mask, device))
        log.info("attention: mask '%s' on %s goes through %s", mask, device, backend)


def prepare_to_compile() -> None:
    """Call this before torch.compile of a model: the backend is then noted once, while tracing.

    If the note were traced, its logger would break the graph, and a guard on TAKEN would compile the graph
    again for each further mask. This is no decorator, since a decorator imports the compiler: 0.8 s for every
    command.
    """
    torch.compiler.assume_constant_result(_note_backend)


def attend(
    q: Tensor, k: Tensor, v: Tensor, seen: Visible, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention of q (B,H,Q,E) over k, v (B,H',K,E), H' dividing H: (B,H,Q,E).

    scale: factor on the scores, 1/√E if not given. dropout: share of the attention weights set to 0, drawn
    anew at each call; the others grow by 1/(1 - dropout). A query that sees no key gives zeros and finite
    gradients in every backend. Raises ValueError for dropout with FlexAttention.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (repeat(part, "b h k e -> b (h group) k e", group=groups) for part in (k, v))
    if seen.backend == "flex":
        if dropout:
            raise ValueError("FlexAttention drops no weights: tell `visible` that attention drops")
        return flex_attention(q, k, v, block_mask=seen.mask, scale=scale)  # type: ignore[return-value]
    if seen.mask is None:
        return functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=seen.backend == "is_causal", scale=scale
        )
    if seen.backend == "products":
        factor = q.shape[-1] ** -0.5 if scale is None else scale
        return seen.mask.zero_blind_queries(_by_products(q, k, v, seen.mask.scores, factor, dropout))
    scores = seen.mask.scores
    if scores.dtype not in (torch.bool, q.dtype):  # float32's lowest number is infinite in bfloat16
        scores = scores.to(q.dtype).clamp(min=lowest(q))
    return seen.mask.zero_blind_queries(
        functional.scaled_dot_product_attention(q, k, v, attn_mask=scores, dropout_p=dropout, scale=scale)
    )


def _by_products(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1).to(v.dtype)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v
