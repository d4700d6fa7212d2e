"""Llama (Touvron et al. 2023), without the rescaled rotary positions of long contexts."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.decoder_ar import DecoderAR
from archs.hf.reference import Reference, activation, their_activation
from archs.hf.rotary import base
from archs.hf.weights import Link, module


class Llama(Reference):
    model_type = "llama"
    architecture = "LlamaForCausalLM"
    family = DecoderAR
    counts = "position_ids"

    def core(self, config: Any, tied: bool) -> CoreConfig:
        width = config.num_attention_heads * config.head_dim
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            attention_width=None if width == config.hidden_size else width,
            ffn=config.intermediate_size,
            max_length=config.max_position_embeddings,
            rope_base=base(config, config.rope_parameters),
            norm_eps=config.rms_norm_eps,
            activation=activation(config, "hidden_act", gated=True),
            attention_bias=config.attention_bias,
            ffn_bias=config.mlp_bias,
            tied=tied,
            attention_dropout=config.attention_dropout,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return {
            "vocab_size": core.vocabulary,
            "num_hidden_layers": core.layers,
            "hidden_size": core.width,
            "num_attention_heads": core.heads,
            "num_key_value_heads": core.key_heads,
            "head_dim": core.head_width,
            "intermediate_size": core.ffn,
            "max_position_embeddings": core.max_length,
            "rope_parameters": {"rope_type": "default", "rope_theta": core.rope_base},
            "rms_norm_eps": core.norm_eps,
            "hidden_act": their_activation(core),
            "attention_bias": core.attention_bias,
            "mlp_bias": core.ffn_bias,
            "tie_word_embeddings": core.tied,
            "attention_dropout": core.attention_dropout,
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [
            *module("embedding", "model.embed_tokens"),
            *module("stack.final_norm", "model.norm"),
            Link(("head.weight",), ("lm_head.weight",)),
        ]
        for number in range(config.num_hidden_layers):
            ours, theirs = f"stack.blocks.{number}", f"model.layers.{number}"
            attention = f"{theirs}.self_attn"
            links += [
                *module(f"{ours}.attention_norm", f"{theirs}.input_layernorm"),
                *module(
                    f"{ours}.attention.query_key_value",
                    tuple(f"{attention}.{part}_proj" for part in "qkv"),
                ),
                *module(f"{ours}.attention.out", f"{attention}.o_proj"),
                *module(f"{ours}.ffn_norm", f"{theirs}.post_attention_layernorm"),
                *module(f"{ours}.ffn.up", (f"{theirs}.mlp.gate_proj", f"{theirs}.mlp.up_proj")),
                *module(f"{ours}.ffn.down", f"{theirs}.mlp.down_proj"),
            ]
        return links
