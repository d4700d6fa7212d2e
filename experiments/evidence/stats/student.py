"""Student's t interval of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95


def half_width(values: Sequence[float] | np.ndarray) -> float:
    """Returns half of the 95% interval of the mean of two or more values, in their unit (Student 1908)."""
    from scipy import stats

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
