"""Attention as a layer: it projects rows to queries, keys and values, attends, and projects back.

    attention(x, memory, mask)
      memory = x                     self-attention
      memory = encoder output        cross-attention
      memory = the first T rows of x permuted LM: T content rows and M query rows, one set of weights

Axes: B rows of the batch, R rows of a stack, D width, H heads, H' key heads, E head width, S source cells.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear

from archs.config import CoreConfig
from archs.core.attention import Visible, attend
from archs.core.cache import KeyValues
from archs.core.positions import Distances, TransformerXL, rotate

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Context:
    """What all layers of one forward pass share; local layers share another.

    keys: so many leading rows are keys too. angles: of rotary positions. between: Transformer-XL's distances.
    first: rows before this one are keys only; the layer computes no output for them.
    """

    seen: Visible
    keys: int
    angles: Angles | None
    between: Distances | None
    first: int = 0


@dataclass(frozen=True)
class Source:
    """What cross-attention reads. memory (B,S,D): None once a cache holds its keys and values."""

    memory: Tensor | None
    seen: Visible


class Attention(nn.Module):
    """Self-attention: rows of x (B,R,D) from `Context.first` on attend to the first `Context.keys` rows.

    relative: Transformer-XL's scores by distance, which have weights in each layer.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.heads, self.key_heads, self.head_width = config.heads, config.key_heads, config.head_width
        self.scale, self.dropout = score_scale(config), config.attention_dropout
        A, E, bias = self.heads * self.head_width, self.key_heads * self.head_width, config.attention_bias
        self.query_key_value = nn.Linear(config.width, A + 2 * E, bias=bias)
        self.out = nn.Linear(A, config.width, bias=bias)
        self.relative = TransformerXL(config) if config.positions == "transformer_xl" else None

    def forward(self, x: Tensor, shared: Context, held: KeyValues | None) -> Tensor:
        q, k, v = self._project(x, shared)
        if held is not None:
            k, v = held.append(k, v)
        seen = shared.seen
        if self.relative is not None:
            assert shared.between is not None
            q, bias = self.relative(q, shared.between)
            seen = seen.plus(bias * self.scale)
        dropout = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(q, k, v, seen, self.scale, dropout)))

    def _project(self, x: Tensor, shared: Context) -> tuple[Tensor, Tensor, Tensor]:
        """q (B,H,R - first,E), and k, v (B,H',keys,E)."""
        H, K, keys, first, angles = self.heads, self.key_heads, shared.keys, shared.first, shared.angles
        if keys == x.shape[1] and not first:  # one product, and one rotation of queries and keys
            heads = split_heads(self.query_key_value(x), self.head_width)  # (B,H + 2H',R,E)
            if angles is None:
                q, k, v = heads.split((H, K, K), dim=1)
                return q, k, v
            qk, v = heads.split((H + K, K), dim=1)
            q, k = rotate(qk, angles).split((H, K), dim=1)
            return q, k, v
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        A = H * self.head_width
        q = linear(x[:, first:], weight[:A], None if bias is None else bias[:A])
        q = split_heads(q, self.head_width)
        kv = linear(x[:, :keys], weight[A:], None if bias is None else bias[A:])
        k, v = split_keys_values(kv, self.head_width)
        if angles is not None:
            cos, sin = angles
            q = rotate(q, (cos[:, :, first:], sin[:, :, first:]))
            k = rotate(k, (cos[:, :, :keys], sin[:, :, :keys]))
        return q, k, v


class CrossAttention(nn.Module):
    """Cross-attention: rows x (B,R,D) attend to an encoder's output (B,S,D)."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.key_heads, self.head_width = config.key_heads, config.head_width
        self.scale, self.dropout = score_scale(config), config.attention_dropout
        A, E, bias = config.heads * self.head_width, self.key_heads * self.head_width, config.attention_bias
        self.query = nn.Linear(config.width, A, bias=bias)
        self.key_value = nn.Linear(config.width, 2 * E, bias=bias)
        self.out = nn.Linear(A, config.width, bias=bias)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B,S,D) -> k, v (B,H',S,E)."""
        return split_keys_values(self.key_value(memory), self.head_width)

    def forward(self, x: Tensor, kv: tuple[Tensor, Tensor], seen: Visible) -> Tensor:
        q = split_heads(self.query(x), self.head_width)
        dropout = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(q, *kv, seen, self.scale, dropout)))


def score_scale(config: CoreConfig) -> float:
    """The factor on attention scores: 1/√E, or 1 where scores are not scaled (T5)."""
    return config.head_width**-0.5 if config.attention_scaled else 1.0


def split_heads(x: Tensor, head_width: int) -> Tensor:
    return rearrange(x, "b r (h e) -> b h r e", e=head_width)


def split_keys_values(x: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    k, v = rearrange(x, "b r (two h e) -> two b h r e", two=2, e=head_width)
    return k, v


def merge_heads(x: Tensor) -> Tensor:
    return rearrange(x, "b h r e -> b r (h e)")
