"""Objectives: what a model learns to predict. They build batches and know no model's inside.

objectives.examples has the helpers of the examples in docstrings.
"""

from objectives.base import Objective
from objectives.causal import Causal
from objectives.denoising import Denoising
from objectives.deshuffling import Deshuffling
from objectives.future import FutureNGram
from objectives.joint import Joint
from objectives.masked_next import MaskedNext
from objectives.mass import MASS
from objectives.mlm import MLM
from objectives.nsp import NSP, SentenceStructure
from objectives.permutation import Permutation
from objectives.prefix import Prefix
from objectives.pseudo_masked import PseudoMasked
from objectives.replaced_tokens import ReplacedTokens
from objectives.sop import SOP
from objectives.span import Span
from objectives.span_by_span import SpanBySpan

OBJECTIVES: dict[str, type[Objective]] = {
    "mlm": MLM,
    "span": Span,
    "nsp": NSP,
    "sop": SOP,
    "sentence_structure": SentenceStructure,
    "pseudo_masked": PseudoMasked,
    "replaced_tokens": ReplacedTokens,
    "causal": Causal,
    "prefix": Prefix,
    "permutation": Permutation,
    "span_by_span": SpanBySpan,
    "mass": MASS,
    "future_ngram": FutureNGram,
    "joint": Joint,
    "masked_next": MaskedNext,
    "denoising": Denoising,
    "deshuffling": Deshuffling,
}

__all__ = ["OBJECTIVES", "Objective"]
