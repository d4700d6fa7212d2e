"""What a model is asked to predict. Knows batches, not models' insides."""

from objectives.base import Objective
from objectives.causal import Causal
from objectives.denoising import Denoising
from objectives.deshuffling import Deshuffling
from objectives.mass import MASS
from objectives.mlm import MLM
from objectives.nsp import NSP, SentenceStructure
from objectives.permutation import Permutation
from objectives.prefix import Prefix
from objectives.sop import SOP
from objectives.span import Span

OBJECTIVES: dict[str, type[Objective]] = {
    "mlm": MLM,
    "span": Span,
    "nsp": NSP,
    "sop": SOP,
    "sentence_structure": SentenceStructure,
    "causal": Causal,
    "prefix": Prefix,
    "permutation": Permutation,
    "mass": MASS,
    "denoising": Denoising,
    "deshuffling": Deshuffling,
}

__all__ = ["OBJECTIVES", "Objective"]
