"""The one core that all five families share.

One attention signature covers them:

    attention(x, memory, mask)
      memory = x                     self-attention
      memory = encoder output        cross-attention
      memory = the first T rows of x permuted LM: T content rows and M query rows, one set of weights

Axes: B rows of the batch, R rows of a stack, T of them keys too, D width, H heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from archs.attention import KeyValues, Visible, attend, visible
from archs.errors import UserError
from archs.masks import Mask
from archs.positions import rope, rotate


@dataclass(frozen=True)
class CoreConfig:
    """The shape of a family. `layers` is the depth of a single stack, or of an encoder-decoder's encoder.

    vocabulary V, layers, width D, heads H, ffn F; kv_heads H' (grouped heads, None = heads);
    decoder_layers: depth of an encoder-decoder's decoder, None for single stacks; max_length: the number
    of learned positions (rope has no limit).
    """

    vocabulary: int
    layers: int
    width: int
    heads: int
    ffn: int
    max_length: int
    kv_heads: int | None = None
    decoder_layers: int | None = None
    positions: Literal["rope", "learned"] = "rope"
    norm: Literal["rms", "layer"] = "rms"
    norm_order: Literal["pre", "post"] = "pre"
    activation: Literal["gelu", "swiglu"] = "gelu"
    tied: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.heads % self.key_heads:
            raise UserError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.positions == "rope" and self.head_width % 2:
            raise UserError(f"rope needs an even head width, got {self.width}/{self.heads}")

    @property
    def key_heads(self) -> int:
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Attention(nn.Module):
    """x (B,R,D) attends to memory (B,T,D). Rope angles of both are None in cross-attention."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key_value = nn.Linear(config.width, 2 * config.key_heads * config.head_width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def keys_values(self, memory: Tensor, angles: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        k, v = rearrange(self.key_value(memory), "b t (two h e) -> two b h t e", two=2, e=self.head_width)
        return (k if angles is None else rotate(k, angles)), v

    def forward(
        self, x: Tensor, kv: tuple[Tensor, Tensor], seen: Visible, angles: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        q = rearrange(self.query(x), "b r (h e) -> b h r e", e=self.head_width)
        if angles is not None:
            q = rotate(q, angles)
        return self.out(rearrange(attend(q, *kv, seen), "b h r e -> b r (h e)"))


class FeedForward(nn.Module):
    """GELU, or SwiGLU (Shazeer 2020) with a third matrix."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        self.up = nn.Linear(config.width, config.ffn * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            gate, up = self.up(x).chunk(2, dim=-1)
            return self.down(functional.silu(gate) * up)
        return self.down(functional.gelu(self.up(x)))


@dataclass
class Cache:
    """What decoding keeps: keys and values of each layer, and the encoder's, computed once."""

    layers: list[KeyValues]
    cross: list[tuple[Tensor, Tensor]]

    @classmethod
    def empty(cls, layers: int, capacity: int) -> Cache:
        return cls([KeyValues(capacity) for _ in range(layers)], [])

    @property
    def length(self) -> int:
        return self.layers[0].length


@dataclass(frozen=True)
class Context:
    """What every layer of one forward pass shares."""

    seen: Visible
    keys: int  # how many leading rows are keys too
    angles: tuple[Tensor, Tensor] | None
    key_angles: tuple[Tensor, Tensor] | None
    memory: Tensor | None
    memory_seen: Visible | None


class Block(nn.Module):
    """Attention, cross-attention if `cross`, feed-forward; each normed before (pre) or after (post)."""

    def __init__(self, config: CoreConfig, cross: bool) -> None:
        super().__init__()
        self.pre = config.norm_order == "pre"
        self.drop = nn.Dropout(config.dropout)
        self.attention_norm, self.attention = make_norm(config), Attention(config)
        if cross:
            self.cross_norm, self.cross = make_norm(config), Attention(config)
        self.ffn_norm, self.ffn = make_norm(config), FeedForward(config)

    def forward(self, x: Tensor, shared: Context, cache: Cache | None, layer: int) -> Tensor:
        h = self.attention_norm(x) if self.pre else x
        kv = self.attention.keys_values(h[:, : shared.keys], shared.key_angles)
        if cache is not None:
            kv = cache.layers[layer].append(*kv)
        x = self._add(x, self.attention(h, kv, shared.seen, shared.angles), self.attention_norm)
        if shared.memory_seen is not None:
            h = self.cross_norm(x) if self.pre else x
            kv = self._cross_keys(shared.memory, cache, layer)
            x = self._add(x, self.cross(h, kv, shared.memory_seen, None), self.cross_norm)
        h = self.ffn_norm(x) if self.pre else x
        return self._add(x, self.ffn(h), self.ffn_norm)

    def _add(self, x: Tensor, branch: Tensor, norm: nn.Module) -> Tensor:
        x = x + self.drop(branch)
        return x if self.pre else norm(x)

    def _cross_keys(self, memory: Tensor | None, cache: Cache | None, layer: int) -> tuple[Tensor, Tensor]:
        if cache is not None and layer < len(cache.cross):
            return cache.cross[layer]
        assert memory is not None, "cross-attention without memory or cache"
        kv = self.cross.keys_values(memory, None)
        if cache is not None:
            cache.cross.append(kv)
        return kv


class Stack(nn.Module):
    """Some layers and a final norm (in pre-norm order; post-norm blocks end with one)."""

    def __init__(self, config: CoreConfig, layers: int, cross: bool = False) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, cross) for _ in range(layers))
        self.final_norm = make_norm(config) if config.norm_order == "pre" else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            # Branches that write to the residual stream are scaled down with depth (Radford et al. 2019).
            writes = name.endswith(("out.weight", "down.weight"))
            nn.init.normal_(weight, std=0.02 / (2 * len(self.blocks)) ** 0.5 if writes else 0.02)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Mask,
        *,
        keys: int | None = None,
        memory: Tensor | None = None,
        memory_mask: Mask | None = None,
        memory_length: int = 0,
        cache: Cache | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """x (B,R,D), positions (B,R) -> final hidden states (B,R,D) and every layer's output before that.

        The first `keys` rows (all if None) are keys; the others only ask. With `cache`, the rows are
        appended to it and `mask` speaks of the rows of the whole cache.
        """
        keys = x.shape[1] if keys is None else keys
        shared = self._share(x, positions, mask, keys, memory, memory_mask, memory_length, cache)
        layers = []
        for number, block in enumerate(self.blocks):
            x = block(x, shared, cache, number)
            layers.append(x)
        return self.final_norm(x), layers

    def _share(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Mask,
        keys: int,
        memory: Tensor | None,
        memory_mask: Mask | None,
        memory_length: int,
        cache: Cache | None,
    ) -> Context:
        B, R = x.shape[:2]
        start = cache.length if cache is not None else 0
        rows = None
        if cache is not None:  # also for the first rows: compiling FlexAttention for each prompt does not pay
            rows = torch.arange(start, start + R, device=x.device)
        angles = None
        if self.config.positions == "rope":
            angles = rope(positions, self.config.head_width)
        key_angles = None if angles is None else (angles[0][:, :, :keys], angles[1][:, :, :keys])
        memory_seen = None
        if memory_mask is not None:
            memory_seen = visible(memory_mask, B, R, memory_length, x.device, rows)
        seen = visible(mask, B, R, start + keys, x.device, rows)
        return Context(seen, keys, angles, key_angles, memory, memory_seen)


def make_norm(config: CoreConfig) -> nn.Module:
    return nn.RMSNorm(config.width, eps=1e-6) if config.norm == "rms" else nn.LayerNorm(config.width)
