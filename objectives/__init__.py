"""What a model is asked to predict. Knows batches, not models' insides."""

from objectives.base import Objective
from objectives.causal import Causal
from objectives.mlm import MLM
from objectives.permutation import Permutation
from objectives.prefix import Prefix
from objectives.sop import SOP
from objectives.span import Span

OBJECTIVES: dict[str, type[Objective]] = {
    "mlm": MLM,
    "span": Span,
    "sop": SOP,
    "causal": Causal,
    "prefix": Prefix,
    "permutation": Permutation,
}

__all__ = ["OBJECTIVES", "Objective"]
