"""ModernBERT (Warner et al. 2024): an encoder with rotary positions, gates and local attention."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from archs.hf.reference import Reference, activation, only, their_activation
from archs.hf.rotary import base
from archs.hf.weights import Link, module


class ModernBert(Reference):
    model_type = "modernbert"
    architecture = "ModernBertForMaskedLM"
    family = EncoderAE
    counts = "position_ids"

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, classifier_bias=config.mlp_bias, classifier_activation=config.hidden_activation)
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            heads=config.num_attention_heads,
            ffn=config.intermediate_size,
            max_length=config.max_position_embeddings,
            rope_base=base(config, config.rope_parameters["full_attention"]),
            local_rope_base=base(config, config.rope_parameters["sliding_attention"]),
            window=config.local_attention // 2,
            global_every=global_every(config.layer_types),
            norm="layer",
            norm_bias=config.norm_bias,
            norm_eps=config.norm_eps,
            embedding_norm=True,
            activation=activation(config, "hidden_activation", gated=True),
            attention_bias=config.attention_bias,
            ffn_bias=config.mlp_bias,
            tied=tied,
            head_transform=True,
            head_bias=config.decoder_bias,
            dropout=config.mlp_dropout,
            attention_dropout=config.attention_dropout,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        bases = {"full_attention": core.rope_base, "sliding_attention": core.local_rope_base}
        local = ["sliding_attention" if core.is_local(n) else "full_attention" for n in range(core.layers)]
        return {
            "vocab_size": core.vocabulary,
            "num_hidden_layers": core.layers,
            "hidden_size": core.width,
            "num_attention_heads": core.heads,
            "intermediate_size": core.ffn,
            "max_position_embeddings": core.max_length,
            "rope_parameters": {
                name: {"rope_type": "default", "rope_theta": core.rope_base if theta is None else theta}
                for name, theta in bases.items()
            },
            "local_attention": 2 * (core.window or 0),
            "layer_types": local,
            "norm_bias": core.norm_bias,
            "norm_eps": core.norm_eps,
            "hidden_activation": their_activation(core),
            "classifier_activation": their_activation(core),
            "attention_bias": core.attention_bias,
            "mlp_bias": core.ffn_bias,
            "classifier_bias": core.ffn_bias,
            "decoder_bias": core.head_bias,
            "tie_word_embeddings": core.tied,
            "embedding_dropout": core.dropout,
            "mlp_dropout": core.dropout,
            "attention_dropout": core.attention_dropout,
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [
            *module("embedding", "model.embeddings.tok_embeddings"),
            *module("placement.norm", "model.embeddings.norm"),
            *module("stack.final_norm", "model.final_norm"),
            *module("head.transform.dense", "head.dense"),
            *module("head.transform.norm", "head.norm"),
            Link(("head.bias",), ("decoder.bias",)),
            Link(("head.weight",), ("decoder.weight",)),
        ]
        for number in range(config.num_hidden_layers):
            ours, theirs = f"stack.blocks.{number}", f"model.layers.{number}"
            links += [
                *module(f"{ours}.attention_norm", f"{theirs}.attn_norm"),
                *module(f"{ours}.attention.query_key_value", f"{theirs}.attn.Wqkv"),
                *module(f"{ours}.attention.out", f"{theirs}.attn.Wo"),
                *module(f"{ours}.ffn_norm", f"{theirs}.mlp_norm"),
                *module(f"{ours}.ffn.up", f"{theirs}.mlp.Wi"),
                *module(f"{ours}.ffn.down", f"{theirs}.mlp.Wo"),
            ]
        return links


def global_every(kinds: list[str]) -> int | None:
    """The step k such that layers 0, k, 2k, … are global; None if no layer is. Else raises UserError."""
    layers = [number for number, kind in enumerate(kinds) if kind == "full_attention"]
    if not layers:
        return None
    step = layers[1] if len(layers) > 1 else len(kinds)
    if layers != list(range(0, len(kinds), step)):
        raise UserError(
            f"modernbert config has full attention in layers {layers}; supported is the first layer and each "
            "k-th after it"
        )
    return step
