"""Where a token stands. Every scheme reads position *ids* (B,R), never slots of a tensor or a cache.

Axes: B rows of the batch, R rows that ask, K keys, H heads, E head width, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.library import custom_op

from archs.config import CoreConfig
from archs.core.fused_backward import Rotation, suits


def rope(positions: Tensor, head_width: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B,1,R,head_width/2) of rotary positions (Su et al. 2021), shared by all layers.

    Raises ValueError if head_width is odd.
    """
    if head_width % 2:
        raise ValueError(f"rope needs an even head width, got {head_width}")
    compiles = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    return (_waves_once if compiles else _waves)(positions, head_width, base, torch.get_default_dtype())


def _waves(positions: Tensor, head_width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    places = torch.arange(0, head_width, 2, device=positions.device, dtype=dtype)
    frequencies = base ** -(places / head_width)
    angles = positions.contiguous()[:, None, :, None].to(dtype) * frequencies  # mixed types are slow
    return angles.cos(), angles.sin()


# One operator to the compiler: it would compute cosines and sines again in each layer, forth and back, which
# on a GPU took a twelfth of a training step.
_waves_once = custom_op("pentarch::rope", _waves, mutates_args=())


@_waves_once.register_fake
def _(positions: Tensor, head_width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    shape = (positions.shape[0], 1, positions.shape[1], head_width // 2)
    cos, sin = (positions.new_empty(shape, dtype=dtype) for _ in range(2))
    return cos, sin


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates x (B,H,R,head_width), whose halves hold the pairs, by `angles` from `rope`."""
    cos, sin = (part.to(x.dtype) for part in angles)
    if suits(x):
        return Rotation.apply(x, cos, sin)  # type: ignore[return-value]
    one, two = x.chunk(2, dim=-1)
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)


def buckets(distance: Tensor, count: int, most: int, both_ways: bool) -> Tensor:
    """The bucket of each distance key - query: exact near by, logarithmic up to `most` (Raffel et al. 2020).

    Half of the `count` buckets are for keys that come later if `both_ways`; otherwise those share bucket 0.
    """
    if both_ways:
        count //= 2
        later, away = (distance > 0) * count, distance.abs()
    else:
        later, away = 0, (-distance).clamp(min=0)
    exact = count // 2
    steps = torch.log(away.clamp(min=1) / exact) / math.log(most / exact) * (count - exact)
    far = (exact + steps.long()).clamp(max=count - 1)
    return later + torch.where(away < exact, away, far)


@cache
def buckets_by_distance(count: int, most: int, both_ways: bool, device: torch.device) -> Tensor:
    """The buckets of all distances from -most to most: a step of decoding looks its few up."""
    return buckets(torch.arange(-most, most + 1, device=device), count, most, both_ways)


class RelativeBias(nn.Module):
    """T5's bias of a score by the bucket of its distance: one table a stack, shared by its layers."""

    def __init__(self, config: CoreConfig, both_ways: bool) -> None:
        super().__init__()
        self.most, self.both_ways = config.relative_distance, both_ways
        self.table = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, positions: Tensor, key_positions: Tensor) -> Tensor:
        """positions (B,R), key_positions (B,K) -> (B,H,R,K)."""
        distance = key_positions[:, None, :] - positions[:, :, None]
        every = buckets_by_distance(
            self.table.num_embeddings, self.most, self.both_ways, self.table.weight.device
        )
        # Beyond `most` the bucket stays the same.
        bucket = every[distance.clamp(-self.most, self.most) + self.most]
        return rearrange(self.table(bucket), "b r k h -> b h r k")


@dataclass(frozen=True)
class Distances:
    """What Transformer-XL's layers share in one pass.

    waves (L,D): sinusoids of all distances that occur; index (B,1,R,K): which of them a query and a key are
    apart; differ (B,1,R,K) int64: 1 where their token types differ, (B,1,R,1) zeros if they never do.
    """

    waves: Tensor
    index: Tensor
    differ: Tensor

    @classmethod
    def between(
        cls,
        positions: Tensor,
        key_positions: Tensor,
        types: Tensor | None,
        key_types: Tensor | None,
        width: int,
    ) -> Distances:
        """positions, types (B,R), those of the keys (B,K)."""
        distance = positions[:, :, None] - key_positions[:, None, :]
        if distance.numel() == 0:
            low = high = 0
        else:
            low, high = (int(each) for each in distance.aminmax())
        steps = torch.arange(low, high + 1, device=positions.device)
        frequencies = 10_000.0 ** -(torch.arange(0, width, 2, device=positions.device) / width)
        angles = steps[:, None] * frequencies
        if types is None or key_types is None:
            differ = torch.zeros_like(distance[:, :, :1])
        else:
            differ = (types[:, :, None] != key_types[:, None, :]).long()
        return cls(
            torch.cat((angles.sin(), angles.cos()), dim=1), (distance - low).unsqueeze(1), differ.unsqueeze(1)
        )


class TransformerXL(nn.Module):
    """Scores by relative position (Dai et al. 2019) and by whether token types differ (Yang et al. 2019).

    score = (q + content)·k + (q + position)·r(distance) + (q + kind)·kinds[differ]
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        H, E = config.heads, config.head_width
        self.distance = nn.Linear(config.width, H * E, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(H, E))
        self.position_bias = nn.Parameter(torch.zeros(H, E))
        self.kind_bias = nn.Parameter(torch.zeros(H, E))
        self.kinds = nn.Parameter(torch.zeros(2, H, E))

    def forward(self, q: Tensor, between: Distances) -> tuple[Tensor, Tensor]:
        """q (B,H,R,E) -> the queries of the keys (B,H,R,E) and what is added to their scores (B,H,R,K)."""
        H, E = self.content_bias.shape
        r = rearrange(self.distance(between.waves.to(q.dtype)), "l (h e) -> l h e", e=E)
        by_distance = torch.einsum("bhre,lhe->bhrl", q + self.position_bias[:, None], r)
        added = by_distance.gather(3, repeat(between.index, "b 1 r k -> b h r k", h=H))
        by_kind = torch.einsum("bhre,she->bhrs", q + self.kind_bias[:, None], self.kinds)
        added = added + by_kind.gather(3, repeat(between.differ, "b 1 r k -> b h r k", h=H))
        return q + self.content_bias[:, None], added
