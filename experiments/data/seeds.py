"""Mixes several numbers into one seed."""

from __future__ import annotations


def mixed(*numbers: int) -> int:
    """Returns one seed made of several numbers, such that neighbouring numbers give unrelated seeds."""
    seed = 0
    for number in numbers:
        seed = (seed * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
        seed ^= seed >> 29
    return seed
