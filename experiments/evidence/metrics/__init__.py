"""The metrics of tasks, by name. Each reads a table with one row an item: `METRICS["f1"].of(rows)`."""

from __future__ import annotations

from experiments.evidence.metrics.answers import ANSWERS
from experiments.evidence.metrics.classes import CLASSES
from experiments.evidence.metrics.correlations import CORRELATIONS
from experiments.evidence.metrics.entities import ENTITIES
from experiments.evidence.metrics.generation import GENERATION
from experiments.evidence.metrics.interval import Measured, measured, measured_within_groups
from experiments.evidence.metrics.likelihoods import LIKELIHOODS
from experiments.evidence.metrics.metric import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (*CLASSES, *CORRELATIONS, *ENTITIES, *ANSWERS, *GENERATION, *LIKELIHOODS)
}

__all__ = ["METRICS", "Measured", "Metric", "measured", "measured_within_groups"]
