"""x-transformers (github.com/lucidrains/x-transformers) as a peer.

With its flash attention, rotary positions and RMS norms, as its README recommends.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from archs.batch import Batch
from benchmarks.peers import Peer, Question, labels
from benchmarks.workload import Shape

# Imported by name, so that type checking works without it too.
library: Any = import_module("x_transformers.x_transformers")


class LanguageModel(nn.Module):
    """Cross-entropy of a wrapped stack, as the library's AutoregressiveWrapper computes it."""

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.stack = stack

    def forward(self, tokens: Tensor, labels: Tensor, **rest: Any) -> Tensor:
        return functional.cross_entropy(self.stack(tokens, **rest).transpose(1, 2), labels)


class SourceToTarget(nn.Module):
    """As the library's XTransformer, which would shift our tokens a second time; it ties only embeddings."""

    def __init__(self, encoder: Any, decoder: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, LanguageModel(decoder)
        decoder.token_emb = encoder.token_emb

    def forward(self, source: Tensor, mask: Tensor | None = None, **question: Tensor) -> Tensor:
        context = self.encoder(source, mask=mask, return_embeddings=True)
        return self.decoder(context=context, context_mask=mask, **question)


def encoder(shape: Shape) -> Peer:
    return Peer(LanguageModel(stack(shape, library.Encoder)), in_one_stack)


def decoder(shape: Shape) -> Peer:
    return Peer(LanguageModel(stack(shape, library.Decoder)), in_one_stack)


def prefix_decoder(shape: Shape) -> Peer:
    return Peer(LanguageModel(stack(shape, library.PrefixDecoder)), with_prefix)


def encoder_decoder(shape: Shape) -> Peer:
    """Half of the layers in each stack, so that both together have as many as a single stack."""
    one, two = (
        stack(shape, library.Encoder, parts=2),
        stack(shape, library.Decoder, parts=2, cross_attend=True),
    )
    return Peer(SourceToTarget(one, two), from_source)


def stack(shape: Shape, layers: Any, parts: int = 1, **options: Any) -> nn.Module:
    return library.TransformerWrapper(
        num_tokens=shape.vocabulary,
        max_seq_len=shape.length,
        use_abs_pos_emb=False,
        tie_embedding=True,
        attn_layers=layers(
            dim=shape.width,
            depth=shape.layers // parts,
            heads=shape.heads,
            attn_dim_head=shape.width // shape.heads,
            attn_flash=True,
            rotary_pos_emb=True,
            use_rmsnorm=True,
            **options,
        ),
    )


def in_one_stack(batch: Batch) -> Question:
    return {"tokens": batch.tokens, "labels": labels(batch)}


def with_prefix(batch: Batch) -> Question:
    assert batch.is_prefix is not None
    return in_one_stack(batch) | {"prefix_attn_len": batch.is_prefix.sum(1)}


def from_source(batch: Batch) -> Question:
    assert batch.source is not None
    question = in_one_stack(batch) | {"source": batch.source}
    if batch.source_segments is not None:
        question["mask"] = batch.source_segments >= 0
    return question
