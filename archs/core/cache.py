"""The cache of decoding: keys and values of each layer, and the positions of their rows.

Axes: B rows, H' key heads, R new rows, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class KeyValues:
    """One layer's cache: keys and values of at most `capacity` rows, filled from the front."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._held: tuple[Tensor, Tensor] | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Appends k, v (B,H',R,E) and returns all keys and all values, (B,H',length,E) each.

        Raises ValueError for more rows than `capacity`.
        """
        if self._held is None:
            shape = (*k.shape[:2], self.capacity, k.shape[3])
            self._held = k.new_empty(shape), v.new_empty(shape)
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} rows, {end} were written")
        held_k, held_v = self._held
        held_k[:, :, self.length : end] = k
        held_v[:, :, self.length : end] = v
        self.length = end
        return held_k[:, :, :end], held_v[:, :, :end]

    def take(self, rows: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come several times."""
        if self._held is None:
            return
        taken = []
        for held in self._held:
            copy = held.new_empty(len(rows), *held.shape[1:])
            copy[:, :, : self.length] = held[rows, :, : self.length]
            taken.append(copy)
        self._held = taken[0], taken[1]


@dataclass
class Cache:
    """Keys and values of a stack's layers and of its cross-attention.

    positions, types (B,length): position ids and token types of the cached rows, kept only by stacks whose
    scores depend on them. rows: the blocks in their form for single rows (`archs.core.single_row`).
    """

    layers: list[KeyValues]
    cross: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    positions: Tensor | None = None
    types: Tensor | None = None
    rows: list[Any] | None = None

    @classmethod
    def empty(cls, layers: int, capacity: int) -> Cache:
        return cls([KeyValues(capacity) for _ in range(layers)])

    @property
    def length(self) -> int:
        return self.layers[0].length

    def take(self, rows: Tensor, cross: bool = True) -> None:
        """Keeps these rows (B') of the batch, in this order; a row may come several times.

        cross=False leaves cross-attention's keys and values as they are: beams of one prompt share them.
        """
        for layer in self.layers:
            layer.take(rows)
        if cross:
            self.cross = [(k[rows], v[rows]) for k, v in self.cross]
        self.positions = None if self.positions is None else self.positions[rows]
        self.types = None if self.types is None else self.types[rows]


def with_held(held: Tensor | None, new: Tensor) -> Tensor:
    """Cached values (B,start) and then those of new rows (B,R): (B,start + R)."""
    return new if held is None else torch.cat((held, new), dim=1)
