"""GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.decoder_ar import DecoderAR
from archs.hf.reference import Reference, activation, only, their_activation
from archs.hf.weights import Link, module


class GPT2(Reference):
    model_type = "gpt2"
    architecture = "GPT2LMHeadModel"
    family = DecoderAR
    counts = "position_ids"
    left_out = (r"transformer\.h\.\d+\.attn\.(masked_)?bias$",)  # masks that old versions saved

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(
            config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
        )
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.n_layer,
            width=config.n_embd,
            heads=config.n_head,
            ffn=config.n_inner or 4 * config.n_embd,
            max_length=config.n_positions,
            positions="learned",
            norm="layer",
            norm_eps=config.layer_norm_epsilon,
            activation=activation(config, "activation_function"),
            attention_bias=True,
            ffn_bias=True,
            tied=tied,
            dropout=config.resid_pdrop,
            attention_dropout=config.attn_pdrop,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return {
            "vocab_size": core.vocabulary,
            "n_layer": core.layers,
            "n_embd": core.width,
            "n_head": core.heads,
            "n_inner": core.ffn,
            "n_positions": core.max_length,
            "layer_norm_epsilon": core.norm_eps,
            "activation_function": their_activation(core),
            "tie_word_embeddings": core.tied,
            "resid_pdrop": core.dropout,
            "embd_pdrop": core.dropout,
            "attn_pdrop": core.attention_dropout,
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [
            *module("embedding", "transformer.wte"),
            *module("placement.positions", "transformer.wpe"),
            *module("stack.final_norm", "transformer.ln_f"),
            Link(("head.weight",), ("lm_head.weight",)),
        ]
        for number in range(config.n_layer):
            ours, theirs = f"stack.blocks.{number}", f"transformer.h.{number}"
            links += [
                *module(f"{ours}.attention_norm", f"{theirs}.ln_1"),
                *module(f"{ours}.attention.query_key_value", f"{theirs}.attn.c_attn", "transposed"),
                *module(f"{ours}.attention.out", f"{theirs}.attn.c_proj", "transposed"),
                *module(f"{ours}.ffn_norm", f"{theirs}.ln_2"),
                *module(f"{ours}.ffn.up", f"{theirs}.mlp.c_fc", "transposed"),
                *module(f"{ours}.ffn.down", f"{theirs}.mlp.c_proj", "transposed"),
            ]
        return links
