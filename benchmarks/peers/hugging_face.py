"""Hugging Face's BERT, ModernBERT, GPT-2, Llama, T5 and XLNet, from their configurations, untrained.

Gated feed-forwards have two thirds of the hidden units, so that they have the same number of parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    XLNetConfig,
    XLNetLMHeadModel,
    logging,
)

from archs.batch import Batch
from benchmarks.peers import IGNORED, Output, Peer, Question, labels
from benchmarks.workload import Shape

logging.set_verbosity_error()


def bert(shape: Shape) -> Peer:
    config = BertConfig(
        **sizes(shape),
        intermediate_size=4 * shape.width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Peer(Output(BertForMaskedLM(config)), in_place)


def modern_bert(shape: Shape) -> Peer:
    special: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 4, "sep_token_id": 5}
    config = ModernBertConfig(**sizes(shape), intermediate_size=gated(shape.width), **special)
    return Peer(Output(ModernBertForMaskedLM(config)), in_place)


def gpt2(shape: Shape) -> Peer:
    config = GPT2Config(
        vocab_size=shape.vocabulary,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_positions=shape.length,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Peer(Output(GPT2LMHeadModel(config)), aligned)


def prefix_gpt2(shape: Shape) -> Peer:
    """GPT-2 under a dense mask that sees the prefix in both directions."""
    return Peer(gpt2(shape).model, with_prefix)


def llama(shape: Shape) -> Peer:
    config = LlamaConfig(
        **sizes(shape), intermediate_size=gated(shape.width), tie_word_embeddings=True, use_cache=False
    )
    return Peer(Output(LlamaForCausalLM(config)), aligned)


def t5(shape: Shape) -> Peer:
    """Half of the layers in each stack, so that both together have as many as a single stack."""
    config = T5Config(
        vocab_size=shape.vocabulary,
        d_model=shape.width,
        d_kv=shape.width // shape.heads,
        d_ff=4 * shape.width,
        num_layers=shape.layers // 2,
        num_decoder_layers=shape.layers // 2,
        num_heads=shape.heads,
        dropout_rate=0.0,
        use_cache=False,
    )
    return Peer(Output(T5ForConditionalGeneration(config)), from_source)


def xlnet(shape: Shape) -> Peer:
    config = XLNetConfig(
        vocab_size=shape.vocabulary,
        d_model=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        d_inner=4 * shape.width,
        dropout=0.0,
    )
    return Peer(Output(XLNetLMHeadModel(config)), permuted)


def sizes(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.length,
        "pad_token_id": 0,
    }


def gated(width: int) -> int:
    """Hidden units of a gated feed-forward, a multiple of eight."""
    return round(4 * width * 2 / 3 / 8) * 8


def in_place(batch: Batch) -> Question:
    return {"input_ids": batch.tokens, "labels": labels(batch)}


def aligned(batch: Batch) -> Question:
    """The question of a causal model. Our tokens are shifted already, so the labels must not be."""
    targets = labels(batch)
    return {"input_ids": batch.tokens, "labels": targets, "shift_labels": targets}


def with_prefix(batch: Batch) -> Question:
    assert batch.is_prefix is not None
    T = batch.tokens.shape[1]
    causal = torch.ones(T, T, dtype=torch.bool, device=batch.device).tril()
    return aligned(batch) | {"attention_mask": (causal | batch.is_prefix[:, None]).unsqueeze(1)}


def from_source(batch: Batch) -> Question:
    assert batch.source is not None
    question = {"input_ids": batch.source, "decoder_input_ids": batch.tokens, "labels": labels(batch)}
    if batch.source_segments is not None:
        question["attention_mask"] = (batch.source_segments >= 0).long()
    return question


def permuted(batch: Batch) -> Question:
    """The question in our order: a row sees rows of lower rank; the given context, of rank 0, sees itself."""
    rank, queries = batch.rank, batch.queries
    assert rank is not None
    assert queries is not None
    row, key = rank[:, :, None], rank[:, None]
    columns = queries.clamp(min=0)
    return {
        "input_ids": batch.tokens,
        "perm_mask": (~((key < row) | ((row == 0) & (key == 0)))).float(),
        "target_mapping": functional.one_hot(columns, batch.tokens.shape[1]).float(),
        "labels": labels(batch).gather(1, columns).masked_fill(queries < 0, IGNORED),
    }
