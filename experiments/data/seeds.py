"""One seed from several numbers."""

from __future__ import annotations


def mixed(*numbers: int) -> int:
    """One seed from several, so that neighbours are unrelated."""
    seed = 0
    for number in numbers:
        seed = (seed * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
        seed ^= seed >> 29
    return seed
