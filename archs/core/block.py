"""One layer of the core: attention, cross-attention and feed-forward, each with its norm.

Axes: B rows of the batch, R rows of a stack, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from archs.config import CoreConfig
from archs.core.attention_layers import Attention, Context, CrossAttention, Source
from archs.core.cache import Cache
from archs.core.layers import FeedForward, make_norm


class Block(nn.Module):
    """Attention, cross-attention if `cross`, and feed-forward. Norms stand before (pre) or after (post).

    normed: the input is normed already, so that a pre-norm attention needs no norm of its own.
    """

    def __init__(self, config: CoreConfig, cross: bool, normed: bool) -> None:
        super().__init__()
        self.pre = config.norm_order == "pre"
        self.drop = nn.Dropout(config.dropout)
        self.attention_norm = nn.Identity() if normed and self.pre else make_norm(config)
        self.attention = Attention(config)
        self.cross_norm = make_norm(config) if cross else nn.Identity()
        self.cross = CrossAttention(config) if cross else None
        self.ffn_norm, self.ffn = make_norm(config), FeedForward(config)

    def forward(
        self, x: Tensor, shared: Context, source: Source | None, cache: Cache | None, layer: int
    ) -> Tensor:
        h = self.attention_norm(x) if self.pre else x
        held = None if cache is None else cache.layers[layer]
        x = self._add(x[:, shared.first :], self.attention(h, shared, held), self.attention_norm)
        if self.cross is not None:
            assert source is not None
            h = self.cross_norm(x) if self.pre else x
            kv = self._cross_keys(self.cross, source.memory, cache, layer)
            x = self._add(x, self.cross(h, kv, source.seen), self.cross_norm)
        h = self.ffn_norm(x) if self.pre else x
        return self._add(x, self.ffn(h), self.ffn_norm)

    def _add(self, x: Tensor, branch: Tensor, norm: nn.Module) -> Tensor:
        x = x + (self.drop(branch) if self.training else branch)
        return x if self.pre else norm(x)

    @staticmethod
    def _cross_keys(
        cross: CrossAttention, memory: Tensor | None, cache: Cache | None, layer: int
    ) -> tuple[Tensor, Tensor]:
        if cache is not None and layer < len(cache.cross):
            return cache.cross[layer]
        assert memory is not None, "cross-attention without memory or cache"
        kv = cross.keys_values(memory)
        if cache is not None:
            cache.cross.append(kv)
        return kv
