"""The kinds of task by name, one a file."""

from __future__ import annotations

from experiments.tasks.kind import Kind
from experiments.tasks.kinds.classification import CLASSIFICATION
from experiments.tasks.kinds.cloze import CLOZE
from experiments.tasks.kinds.generation import GENERATION
from experiments.tasks.kinds.language_modelling import LANGUAGE_MODELLING
from experiments.tasks.kinds.minimal_pairs import MINIMAL_PAIRS
from experiments.tasks.kinds.question_answering import QUESTION_ANSWERING
from experiments.tasks.kinds.regression import REGRESSION
from experiments.tasks.kinds.tagging import TAGGING

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
