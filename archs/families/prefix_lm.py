"""Prefix LM: both directions inside the prefix, left to right after it (Dong et al. 2019, UniLM)."""

from __future__ import annotations

from archs.batch import Batch
from archs.families.permuted_lm import PermutedLM
from archs.families.single_stack import CachedStack, SingleStack
from archs.masks import CAUSAL, Mask, document, prefix


def mask(batch: Batch) -> Mask:
    return (CAUSAL | prefix(batch.is_prefix)) & document(batch.segments)


class PrefixLM(CachedStack):
    kind = "prefix_lm"
    default_mask = staticmethod(mask)

    @classmethod
    def of(cls, family: SingleStack | PermutedLM) -> PrefixLM:
        """A prefix LM that shares embeddings, layers and head with another family of one stack.

        A permuted LM's query vector is not used: in a prefix LM every row reads a token.
        """
        other = cls(family.config)
        other.embedding, other.placement = family.embedding, family.placement
        other.stack, other.head = family.stack, family.head
        return other.train(family.training)
