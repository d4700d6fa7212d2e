"""The kinds of task, by name."""

from __future__ import annotations

from experiments.tasks.classification import CLASSIFICATION
from experiments.tasks.cloze import CLOZE
from experiments.tasks.generation import GENERATION
from experiments.tasks.kind import Kind
from experiments.tasks.language_modelling import LANGUAGE_MODELLING
from experiments.tasks.minimal_pairs import MINIMAL_PAIRS
from experiments.tasks.question_answering import QUESTION_ANSWERING
from experiments.tasks.regression import REGRESSION
from experiments.tasks.tagging import TAGGING

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        CLASSIFICATION,
        REGRESSION,
        TAGGING,
        QUESTION_ANSWERING,
        MINIMAL_PAIRS,
        CLOZE,
        GENERATION,
        LANGUAGE_MODELLING,
    )
}
