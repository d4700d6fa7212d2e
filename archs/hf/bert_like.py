"""The weights and options that BERT, RoBERTa, ALBERT and ELECTRA share in Hugging Face's classes."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.hf.reference import activation, only, their_activation
from archs.hf.weights import Link, module


def layer(ours: str, theirs: str) -> list[Link]:
    """A post-norm layer under the names that BERT, RoBERTa and ELECTRA share."""
    attention = f"{theirs}.attention"
    return [
        *module(
            f"{ours}.attention.query_key_value",
            tuple(f"{attention}.self.{part}" for part in ("query", "key", "value")),
        ),
        *module(f"{ours}.attention.out", f"{attention}.output.dense"),
        *module(f"{ours}.attention_norm", f"{attention}.output.LayerNorm"),
        *module(f"{ours}.ffn.up", f"{theirs}.intermediate.dense"),
        *module(f"{ours}.ffn.down", f"{theirs}.output.dense"),
        *module(f"{ours}.ffn_norm", f"{theirs}.output.LayerNorm"),
    ]


def embeddings(theirs: str, skip: int = 0) -> list[Link]:
    """Tokens, positions, types and their norm under the names that BERT's relatives share."""
    return [
        *module("embedding", f"{theirs}.word_embeddings"),
        *module("placement.positions", f"{theirs}.position_embeddings", skip=skip),
        *module("placement.types", f"{theirs}.token_type_embeddings"),
        *module("placement.norm", f"{theirs}.LayerNorm"),
    ]


def head(dense: str, norm: str, bias: str) -> list[Link]:
    """BERT's transform and the vocabulary's bias."""
    return [
        *module("head.transform.dense", dense),
        *module("head.transform.norm", norm),
        Link(("head.bias",), (bias,)),
    ]


def bert_core(config: Any) -> dict[str, Any]:
    """The options that the configs of BERT's relatives share, as arguments of a CoreConfig."""
    only(config, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    only(config, tie_word_embeddings=True)  # untied, their head has a second bias that nothing reads
    return {
        "vocabulary": config.vocab_size,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "ffn": config.intermediate_size,
        "max_length": config.max_position_embeddings,
        "positions": "learned",
        "token_types": config.type_vocab_size,
        "norm": "layer",
        "norm_order": "post",
        "norm_eps": config.layer_norm_eps,
        "embedding_norm": True,
        "activation": activation(config, "hidden_act"),
        "attention_bias": True,
        "ffn_bias": True,
        "head_transform": True,
        "head_bias": True,
        "dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
    }


def bert_config(core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
    """The inverse of `bert_core`: arguments of a Hugging Face config."""
    return {
        "vocab_size": core.vocabulary,
        "num_hidden_layers": core.layers,
        "hidden_size": core.width,
        "num_attention_heads": core.heads,
        "intermediate_size": core.ffn,
        "max_position_embeddings": core.max_length,
        "type_vocab_size": core.token_types,
        "layer_norm_eps": core.norm_eps,
        "hidden_act": their_activation(core),
        "hidden_dropout_prob": core.dropout,
        "attention_probs_dropout_prob": core.attention_dropout,
        "tie_word_embeddings": core.tied,
        **tokens,
    }
