"""Attention masks. A mask is a predicate over (row of the batch, query, key), composed with & and |.

`q` and `k` are row numbers in the *full* sequence or cache, never offsets. `b`, `q` and `k` are integer
tensors of any shapes that broadcast together, so that one rule serves a dense boolean matrix, FlexAttention's
element-wise calls and a single step of cached decoding.

    encoder-AE     FULL & document(segments)
    decoder-AR     CAUSAL & document(segments)
    prefix LM      (CAUSAL | prefix(is_prefix)) & document(segments)
    permuted LM    order(query_rank, key_rank) & document(query_segments, key_segments)
    enc-dec        encoder FULL & document, cross document(target, source), decoder CAUSAL & document
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from archs.errors import UserError

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Mask:
    """`rule(b, q, k)` is True where query q of batch row b may see key k.

    Two masks are equal if their rules are. The rules of FULL and CAUSAL are module-level functions, so that a
    copied or unpickled CAUSAL still equals CAUSAL.
    """

    rule: Rule
    name: str = field(compare=False)

    def __and__(self, other: Mask) -> Mask:
        if self in (FULL, other):
            return other
        if other == FULL:
            return self
        return Mask(_Both(self.rule, other.rule), f"{self._bracketed('|')} & {other._bracketed('|')}")

    def __or__(self, other: Mask) -> Mask:
        if self == FULL or other == FULL:
            return FULL
        if self == other or other == NOTHING:
            return self
        if self == NOTHING:
            return other
        return Mask(_Either(self.rule, other.rule), f"{self._bracketed('&')} | {other._bracketed('&')}")

    def from_row(self, first: int) -> Mask:
        """The same mask for the queries from row `first` on, which are numbered from 0."""
        return Mask(_From(self.rule, first), self.name)

    def _bracketed(self, operator: str) -> str:
        return f"({self.name})" if f" {operator} " in self.name else self.name

    def __str__(self) -> str:
        return self.name

    def dense(self, batch: int, q: Tensor, k: Tensor) -> Tensor:
        """The mask as booleans (batch, len(q), len(k)) for row numbers q (Q) and k (K)."""
        b = torch.arange(batch, device=q.device)[:, None, None]
        seen = evaluated(self.rule, self.name, b, q[None, :, None], k[None, None, :])
        return seen.expand(batch, len(q), len(k))


def evaluated(rule: Rule, name: str, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """`rule(b, q, k)` of the mask `name`. Raises UserError for the common mistakes in a user's rule."""
    try:
        seen = rule(b, q, k)
    except IndexError as error:
        raise UserError(
            f"mask '{name}' fails with IndexError: {error}; compare q and k cell by cell, as k <= q, without "
            "tables of a width of their own"
        ) from error
    except RuntimeError as error:
        if "Boolean value of Tensor" not in str(error):
            raise
        raise UserError(
            f"mask '{name}' asks a tensor for one truth value; write & | ~ and torch.where in place of and, "
            "or, not and if: a rule answers for many places at once"
        ) from error
    return checked(seen, name, b, q, k)


def checked(seen: object, name: str, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """`seen`, if it is booleans that broadcast to the shape of b, q and k; else raises UserError."""
    if not isinstance(seen, Tensor):
        raise UserError(f"mask '{name}' gives {type(seen).__name__}; return booleans, True = seen, as k <= q")
    if seen.dtype != torch.bool:
        raise UserError(f"mask '{name}' gives {seen.dtype}; return booleans, True = seen, as k <= q")
    shape = torch.broadcast_shapes(b.shape, q.shape, k.shape)
    backwards = zip(reversed(seen.shape), reversed(shape), strict=False)
    if seen.ndim > len(shape) or any(got not in (1, wanted) for got, wanted in backwards):
        raise UserError(
            f"mask '{name}' gives the shape {tuple(seen.shape)} where {tuple(shape)} was asked; compare q "
            "and k cell by cell, as k <= q, without tables of a width of their own"
        )
    return seen


def _full(b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (q >= 0) & (k >= 0)


def _causal(b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return k <= q


@dataclass(frozen=True, eq=False)
class _Both:
    one: Rule
    two: Rule

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.one(b, q, k) & self.two(b, q, k)


@dataclass(frozen=True, eq=False)
class _Either:
    one: Rule
    two: Rule

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.one(b, q, k) | self.two(b, q, k)


@dataclass(frozen=True, eq=False)
class _From:
    rule: Rule
    first: int

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.rule(b, q + self.first, k)


@dataclass(frozen=True, eq=False)
class _Prefix:
    is_prefix: Tensor

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.is_prefix[b, k] & (q >= 0)


@dataclass(frozen=True, eq=False)
class _Document:
    q_segments: Tensor
    k_segments: Tensor

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        q_segments, k_segments = self.q_segments[b, q], self.k_segments[b, k]
        return (q_segments == k_segments) & (q_segments >= 0)


@dataclass(frozen=True, eq=False)
class _Order:
    q_rank: Tensor
    k_rank: Tensor

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.k_rank[b, k] <= self.q_rank[b, q]


@dataclass(frozen=True, eq=False)
class _Near:
    positions: Tensor
    window: int

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (self.positions[b, q] - self.positions[b, k]).abs() <= self.window


def _nothing(b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (q < 0) & (k < 0)


FULL = Mask(_full, "full")
CAUSAL = Mask(_causal, "causal")
NOTHING = Mask(_nothing, "nothing")


def prefix(is_prefix: Tensor | None) -> Mask:
    """Every query sees the keys in `is_prefix` (B,T) bool; None = no key.

    For `CAUSAL | prefix(...)`. A row may have several prefixes, which `document` separates. Dong et al. 2019
    (UniLM).
    """
    if is_prefix is None:
        return NOTHING
    return Mask(_Prefix(is_prefix), "prefix")


def document(q_segments: Tensor | None, k_segments: Tensor | None = None) -> Mask:
    """Queries see the keys of their own document. Padding (segment -1) sees nothing and is never seen.

    q_segments (B,Q), k_segments (B,K): document numbers; k_segments are q_segments if not given. None for
    both: each row is one full document, and no key is hidden. Raises ValueError for k_segments alone.
    """
    if q_segments is None and k_segments is None:
        return FULL
    if q_segments is None:
        raise ValueError("document(None, k_segments) is ambiguous: give segments of the queries too")
    return Mask(_Document(q_segments, q_segments if k_segments is None else k_segments), "document")


def order(q_rank: Tensor, k_rank: Tensor | None = None) -> Mask:
    """A query sees the keys of at most its own rank: a factorisation order (Yang et al. 2019, XLNet).

    q_rank (B,Q), k_rank (B,K). In two-stream attention a token of rank r has a content row of rank 2r and a
    query row of rank 2r - 1: the content row sees itself, and the query row does not see it.
    """
    return Mask(_Order(q_rank, q_rank if k_rank is None else k_rank), "order")


def near(positions: Tensor, window: int) -> Mask:
    """A query sees the keys at most `window` positions away: local attention.

    positions (B,R): ids of all rows, keys first. They count within a document, so compose with `document`.
    """
    return Mask(_Near(positions, window), "near")
