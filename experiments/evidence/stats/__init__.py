"""Paired statistics over seeds and items, explained in `docs/statistics.md`."""

from __future__ import annotations

from experiments.evidence.stats.corrections import benjamini_hochberg, holm
from experiments.evidence.stats.crossed import (
    Equivalence,
    Pairing,
    Test,
    crossed_test,
    equivalence_test,
    pairing,
    pseudo_values,
    relabelled,
)
from experiments.evidence.stats.flips import sign_flip
from experiments.evidence.stats.sensitivity import seeds_needed, smallest_visible
from experiments.evidence.stats.variances import Variances

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
