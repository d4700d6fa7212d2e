"""The only place that turns a mask into numbers and chooses an attention backend; the key-value cache.

Axes: B rows, H heads, Q queries, K keys, E head width.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from archs.masks import CAUSAL, FULL, Mask

Backend = Literal["full", "is_causal", "dense", "flex"]

log = logging.getLogger(__name__)
TAKEN: set[tuple[str, str, str]] = set()  # (backend, mask, device) of this process, for the log and audits


@dataclass(frozen=True)
class Visible:
    """A mask made concrete for one batch, shared by all layers. Make one with `visible`."""

    backend: Backend
    what: Any = None  # (B,1,Q,K) booleans for "dense", a BlockMask for "flex"


def visible(
    mask: Mask,
    batch: int,
    queries: int,
    keys: int,
    device: torch.device,
    rows: Tensor | None = None,
    backend: Backend | None = None,
) -> Visible:
    """Chooses the backend for `mask` and materialises it once.

    `rows` (Q) are the queries' row numbers where they are not 0…Q-1: a step of cached decoding. With
    `rows`, `is_causal` would be silently wrong and is never taken. `backend` forces one, for tests.
    """
    if backend is None:
        backend = _choose(mask, queries, keys, device, rows)
        _say_once(backend, mask.name, device.type)
    if backend in ("full", "is_causal"):
        return Visible(backend)
    if backend == "flex":
        block = create_block_mask(
            lambda b, h, q, k: mask.rule(b, q, k), batch, None, queries, keys, device=str(device)
        )
        return Visible(backend, block)
    q = torch.arange(queries, device=device) if rows is None else rows
    return Visible(backend, mask.dense(batch, q, torch.arange(keys, device=device)).unsqueeze(1))


def _choose(mask: Mask, queries: int, keys: int, device: torch.device, rows: Tensor | None) -> Backend:
    if mask == FULL:
        return "full"
    if rows is None and mask == CAUSAL and queries == keys:
        return "is_causal"
    return "flex" if rows is None and device.type == "cuda" else "dense"


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
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=seen.what, is_causal=seen.backend == "is_causal", scale=scale
    )


@cache
def _compiled_flex() -> Any:
    # Uncompiled FlexAttention materialises all scores: right, and as slow as a dense mask.
    return torch.compile(flex_attention, dynamic=False)


class KeyValues:
    """One layer's cache: keys and values of at most `capacity` rows, written front to back."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._held: tuple[Tensor, Tensor] | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds k, v (B,H',R,E) and returns all that is held, (B,H',length,E) each."""
        if self._held is None:
            shape = (*k.shape[:2], self.capacity, k.shape[3])
            self._held = k.new_empty(shape), v.new_empty(shape)
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} rows, {end} were written")
        for held, new in zip(self._held, (k, v), strict=True):
            held[:, :, self.length : end] = new
        self.length = end
        return self._held[0][:, :, :end], self._held[1][:, :, :end]
