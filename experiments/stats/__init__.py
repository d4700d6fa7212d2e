"""Paired statistics over seeds and items: what `docs/statistics.md` explains."""

from __future__ import annotations

from experiments.stats.corrections import benjamini_hochberg, holm
from experiments.stats.crossed import (
    Equivalence,
    Pairing,
    Test,
    crossed_test,
    equivalence_test,
    pairing,
    pseudo_values,
    relabelled,
)
from experiments.stats.flips import sign_flip
from experiments.stats.sensitivity import seeds_needed, smallest_visible
from experiments.stats.variances import Variances

__all__ = [
    "Equivalence",
    "Pairing",
    "Test",
    "Variances",
    "benjamini_hochberg",
    "crossed_test",
    "equivalence_test",
    "holm",
    "pairing",
    "pseudo_values",
    "relabelled",
    "seeds_needed",
    "sign_flip",
    "smallest_visible",
]
