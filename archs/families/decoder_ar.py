"""Decoder-AR: a token sees those before it (Radford et al. 2018, GPT)."""

from archs.batch import Batch
from archs.families.single_stack import CachedStack
from archs.masks import CAUSAL, Mask, document


def mask(batch: Batch) -> Mask:
    return CAUSAL & document(batch.segments)


class DecoderAR(CachedStack):
    kind = "decoder_ar"
    default_mask = staticmethod(mask)
    both_ways = False
