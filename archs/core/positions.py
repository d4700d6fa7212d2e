"""Positional encodings. Every scheme reads position *ids* (B,R), never slots of a tensor or a cache.

Axes: B rows of the batch, R query rows, K keys, H heads, E head width, D width, L distances.
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
    """Cosines and sines (B,1,R,head_width/2) of rotary positions (B,R), shared by all layers.

    Su et al. 2021. Raises ValueError if head_width is odd.
    """
    if head_width % 2:
        raise ValueError(f"rope needs an even head width, got {head_width}")
    compiles = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    cos_sin = _cos_sin_operator if compiles else _cos_sin
    return cos_sin(positions, head_width, base, torch.get_default_dtype())


def _cos_sin(positions: Tensor, head_width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    evens = torch.arange(0, head_width, 2, device=positions.device, dtype=dtype)
    frequencies = base ** -(evens / head_width)
    angles = positions.contiguous()[:, None, :, None].to(dtype) * frequencies  # mixed types are slow
    return angles.cos(), angles.sin()


# One operator to the compiler. Without it, the compiler would compute cosines and sines again in each layer,
# forward and backward: on a GPU a twelfth of a training step.
_cos_sin_operator = custom_op("pentarch::rope", _cos_sin, mutates_args=())


@_cos_sin_operator.register_fake
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
    """T5's bucket of each distance (key - query), of any shape, int64 (Raffel et al. 2020).

    Small distances have a bucket each; larger ones share buckets of logarithmic width, up to distance `most`.
    count: number of buckets. both_ways: half of them are for later keys; otherwise later keys share bucket 0.
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
    """Buckets of the distances -most … most (2 most + 1), computed once: a decoding step reads a few."""
    return buckets(torch.arange(-most, most + 1, device=device), count, most, both_ways)


class RelativeBias(nn.Module):
    """T5's bias: a number for each head and bucket of distances, in one table that a stack's layers share."""

    def __init__(self, config: CoreConfig, both_ways: bool) -> None:
        super().__init__()
        self.most, self.both_ways = config.relative_distance, both_ways
        self.table = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, positions: Tensor, key_positions: Tensor) -> Tensor:
        """positions (B,R), key_positions (B,K) -> (B,H,R,K)."""
        distance = key_positions[:, None, :] - positions[:, :, None]
        table = buckets_by_distance(
            self.table.num_embeddings, self.most, self.both_ways, self.table.weight.device
        )
        # All distances beyond `most` have one bucket.
        bucket = table[distance.clamp(-self.most, self.most) + self.most]
        return rearrange(self.table(bucket), "b r k h -> b h r k")


@dataclass(frozen=True)
class Distances:
    """Distances between queries and keys, which Transformer-XL's layers share in one pass.

    sinusoids (L,D): of all L distances that occur. index (B,1,R,K): the number of the distance between a
    query and a key. differ (B,1,R,K) int64: 1 where their token types differ; zeros (B,1,R,1) without types.
    """

    sinusoids: Tensor
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
        """positions, types (B,R), key_positions, key_types (B,K); width: of the sinusoids."""
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

    score = (q + content_bias)·k + (q + position_bias)·r(distance) + (q + kind_bias)·kinds[differ]
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
        """q (B,H,R,E) -> queries with the content bias (B,H,R,E) and the bias of their scores (B,H,R,K)."""
        H, E = self.content_bias.shape
        r = rearrange(self.distance(between.sinusoids.to(q.dtype)), "l (h e) -> l h e", e=E)
        by_distance = torch.einsum("bhre,lhe->bhrl", q + self.position_bias[:, None], r)
        bias = by_distance.gather(3, repeat(between.index, "b 1 r k -> b h r k", h=H))
        by_kind = torch.einsum("bhre,she->bhrs", q + self.kind_bias[:, None], self.kinds)
        bias = bias + by_kind.gather(3, repeat(between.differ, "b 1 r k -> b h r k", h=H))
        return q + self.content_bias[:, None], bias
