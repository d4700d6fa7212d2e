"""Where a token stands. Every scheme reads position *ids* (B,R), never slots of a tensor or a cache."""

from __future__ import annotations

import torch
from torch import Tensor


def rope(positions: Tensor, head_width: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B,1,R,head_width/2) of rotary positions (Su et al. 2021), shared by all layers.

    Raises ValueError if head_width is odd.
    """
    if head_width % 2:
        raise ValueError(f"rope needs an even head width, got {head_width}")
    frequencies = base ** -(torch.arange(0, head_width, 2, device=positions.device) / head_width)
    angles = positions[:, None, :, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates x (B,H,R,head_width), whose halves hold the pairs, by `angles` from `rope`."""
    cos, sin = (part.to(x.dtype) for part in angles)
    one, two = x.chunk(2, dim=-1)
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)
