"""The kinds of task, by name."""

from __future__ import annotations

from experiments.tasks.classification import CLASSIFICATION
from experiments.tasks.cloze import CLOZE
from experiments.tasks.kind import Kind
from experiments.tasks.language_modelling import LANGUAGE_MODELLING
from experiments.tasks.minimal_pairs import MINIMAL_PAIRS
from experiments.tasks.regression import REGRESSION

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (CLASSIFICATION, REGRESSION, MINIMAL_PAIRS, CLOZE, LANGUAGE_MODELLING)
}
