"""Widths that do not depend on the seed, so that few graphs are compiled."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

SLACK = 4  # spare columns: a packed row hides slightly fewer or more tokens than a full one
MULTIPLE = 8  # widths are multiples of this, which makes matrix units faster


def widened(values: Tensor, width: int, fill: int) -> Tensor:
    """values (B,W), padded on the right with `fill`: (B,width)."""
    assert values.shape[1] <= width, "padding to a smaller width would cut text off"
    return functional.pad(values, (0, width - values.shape[1]), value=fill)


def rounded(width: int) -> int:
    """The next multiple of MULTIPLE."""
    return -(-width // MULTIPLE) * MULTIPLE
