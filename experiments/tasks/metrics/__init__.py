"""Metrics of tasks by name, each a function of a table with one row an item: `METRICS["f1"].of(rows)`."""

from __future__ import annotations

from experiments.tasks.metrics.answers import ANSWERS
from experiments.tasks.metrics.classes import CLASSES
from experiments.tasks.metrics.correlations import CORRELATIONS
from experiments.tasks.metrics.entities import ENTITIES
from experiments.tasks.metrics.generation import GENERATION
from experiments.tasks.metrics.interval import Measured, measured, measured_within_groups
from experiments.tasks.metrics.likelihoods import LIKELIHOODS
from experiments.tasks.metrics.metric import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (*CLASSES, *CORRELATIONS, *ENTITIES, *ANSWERS, *GENERATION, *LIKELIHOODS)
}

__all__ = ["METRICS", "Measured", "Metric", "measured", "measured_within_groups"]
