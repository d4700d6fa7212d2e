"""The kinds of task, by name."""

from __future__ import annotations

from experiments.tasks.classification import CLASSIFICATION
from experiments.tasks.kind import Kind
from experiments.tasks.regression import REGRESSION

KINDS: dict[str, Kind] = {kind.name: kind for kind in (CLASSIFICATION, REGRESSION)}
