"""BART (Lewis et al. 2020)."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.encoder_decoder import EncoderDecoder
from archs.hf.reference import Reference, activation, only, their_activation
from archs.hf.weights import Link, module

UNREACHED_POSITIONS = 2


class Bart(Reference):
    model_type = "bart"
    architecture = "BartForConditionalGeneration"
    family = EncoderDecoder
    counts = "slots"

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, scale_embedding=False)
        only(config, tie_word_embeddings=True)  # untied, encoder and decoder have embeddings of their own
        only(config, decoder_attention_heads=config.encoder_attention_heads)
        only(config, decoder_ffn_dim=config.encoder_ffn_dim)
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            width=config.d_model,
            heads=config.encoder_attention_heads,
            ffn=config.encoder_ffn_dim,
            max_length=config.max_position_embeddings,
            positions="learned",
            norm="layer",
            norm_order="post",
            norm_eps=1e-5,
            embedding_norm=True,
            activation=activation(config, "activation_function"),
            attention_bias=True,
            ffn_bias=True,
            tied=tied,
            head_bias=True,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return {
            "vocab_size": core.vocabulary,
            "encoder_layers": core.layers,
            "decoder_layers": core.decoder_layers,
            "d_model": core.width,
            "encoder_attention_heads": core.heads,
            "decoder_attention_heads": core.heads,
            "encoder_ffn_dim": core.ffn,
            "decoder_ffn_dim": core.ffn,
            "max_position_embeddings": core.max_length,
            "activation_function": their_activation(core),
            "tie_word_embeddings": core.tied,
            "dropout": core.dropout,
            "attention_dropout": core.attention_dropout,
            "activation_dropout": 0.0,
            "decoder_start_token_id": tokens.get("bos_token_id"),
            "forced_eos_token_id": None,
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [
            *module("embedding", "model.shared"),
            Link(("head.weight",), ("lm_head.weight",)),
            Link(("head.bias",), ("final_logits_bias",), "row"),
        ]
        placements = {"encoder": "source_placement", "decoder": "placement"}
        for side, depth in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
            ours, theirs = placements[side], f"model.{side}"
            links += module(f"{ours}.positions", f"{theirs}.embed_positions", skip=UNREACHED_POSITIONS)
            links += module(f"{ours}.norm", f"{theirs}.layernorm_embedding")
            for number in range(depth):
                links += layer(f"{side}.blocks.{number}", f"model.{side}.layers.{number}", side == "decoder")
        return links


def layer(ours: str, theirs: str, cross: bool) -> list[Link]:
    links = [
        *attention(f"{ours}.attention", f"{theirs}.self_attn"),
        *module(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm"),
        *module(f"{ours}.ffn.up", f"{theirs}.fc1"),
        *module(f"{ours}.ffn.down", f"{theirs}.fc2"),
        *module(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm"),
    ]
    if cross:
        links += cross_attention(f"{ours}.cross", f"{theirs}.encoder_attn")
        links += module(f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm")
    return links


def attention(ours: str, theirs: str) -> list[Link]:
    return _from_all(f"{ours}.query_key_value", ours, theirs)


def cross_attention(ours: str, theirs: str) -> list[Link]:
    return _from_all((f"{ours}.query", f"{ours}.key_value"), ours, theirs)


def _from_all(projections: str | tuple[str, ...], ours: str, theirs: str) -> list[Link]:
    return [
        *module(projections, tuple(f"{theirs}.{part}_proj" for part in "qkv")),
        *module(f"{ours}.out", f"{theirs}.out_proj"),
    ]
