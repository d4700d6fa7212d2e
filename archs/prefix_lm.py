"""Prefix LM: both directions inside the prefix, left to right after it (Dong et al. 2019, UniLM)."""

from archs.batch import Batch
from archs.masks import CAUSAL, Mask, document, prefix
from archs.single_stack import CachedStack


def mask(batch: Batch) -> Mask:
    return (CAUSAL | prefix(batch.is_prefix)) & document(batch.segments)


class PrefixLM(CachedStack):
    kind = "prefix_lm"
    default_mask = staticmethod(mask)
