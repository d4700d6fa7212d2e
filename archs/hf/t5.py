"""T5 (Raffel et al. 2020): the original, and version 1.1 (gated, the head neither tied nor scaled)."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from archs.hf.reference import GATED, PLAIN, Reference, their_activation
from archs.hf.weights import Link, module


class T5(Reference):
    model_type = "t5"
    architecture = "T5ForConditionalGeneration"
    family = EncoderDecoder

    def core(self, config: Any, tied: bool) -> CoreConfig:
        table = GATED if config.is_gated_act else PLAIN
        if config.dense_act_fn not in table:
            raise UserError(
                f"t5 config has feed_forward_proj='{config.feed_forward_proj}'; supported are "
                f"{', '.join([*PLAIN, *(f'gated-{name}' for name in GATED)])}"
            )
        width = config.num_heads * config.d_kv
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.num_layers,
            decoder_layers=config.num_decoder_layers,
            width=config.d_model,
            heads=config.num_heads,
            attention_width=None if width == config.d_model else width,
            ffn=config.d_ff,
            max_length=config.relative_attention_max_distance,  # none are learned
            positions="relative",
            relative_buckets=config.relative_attention_num_buckets,
            relative_distance=config.relative_attention_max_distance,
            norm_eps=config.layer_norm_epsilon,
            activation=table[config.dense_act_fn],
            attention_scaled=False,
            tied=tied,
            logit_scale=config.d_model**-0.5 if config.scale_decoder_outputs else 1.0,
            dropout=config.dropout_rate,
            attention_dropout=config.dropout_rate,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        gate = "gated-" if core.gated else ""
        return {
            "vocab_size": core.vocabulary,
            "num_layers": core.layers,
            "num_decoder_layers": core.decoder_layers,
            "d_model": core.width,
            "num_heads": core.heads,
            "d_kv": core.head_width,
            "d_ff": core.ffn,
            "relative_attention_num_buckets": core.relative_buckets,
            "relative_attention_max_distance": core.relative_distance,
            "layer_norm_epsilon": core.norm_eps,
            "feed_forward_proj": gate + their_activation(core),
            "tie_word_embeddings": core.logit_scale != 1.0,  # Hugging Face scales logits if this is set
            "dropout_rate": core.dropout,
            "decoder_start_token_id": tokens.get("bos_token_id"),
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [*module("embedding", "shared"), Link(("head.weight",), ("lm_head.weight",))]
        for side, depth in (("encoder", config.num_layers), ("decoder", config.num_decoder_layers)):
            first = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
            links += module(f"{side}.bias.table", first)
            links += module(f"{side}.final_norm", f"{side}.final_layer_norm")
            for number in range(depth):
                ours, theirs = f"{side}.blocks.{number}", f"{side}.block.{number}.layer"
                links += attention(f"{ours}.attention", f"{theirs}.0.SelfAttention")
                links += module(f"{ours}.attention_norm", f"{theirs}.0.layer_norm")
                last = f"{theirs}.1"
                if side == "decoder":
                    links += cross_attention(f"{ours}.cross", f"{theirs}.1.EncDecAttention")
                    links += module(f"{ours}.cross_norm", f"{theirs}.1.layer_norm")
                    last = f"{theirs}.2"
                links += module(f"{ours}.ffn_norm", f"{last}.layer_norm")
                dense = f"{last}.DenseReluDense"
                up = (f"{dense}.wi_0", f"{dense}.wi_1") if config.is_gated_act else f"{dense}.wi"
                links += module(f"{ours}.ffn.up", up)
                links += module(f"{ours}.ffn.down", f"{dense}.wo")
        return links


def untie(model: PreTrainedModel) -> None:
    """Gives the head weights of its own, as in version 1.1: the class ties them whatever the config says."""
    head: Any = model.get_output_embeddings()
    embeddings: Any = model.get_input_embeddings()
    if head.weight is embeddings.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())


def attention(ours: str, theirs: str) -> list[Link]:
    return _from_all(f"{ours}.query_key_value", ours, theirs)


def cross_attention(ours: str, theirs: str) -> list[Link]:
    return _from_all((f"{ours}.query", f"{ours}.key_value"), ours, theirs)


def _from_all(projections: str | tuple[str, ...], ours: str, theirs: str) -> list[Link]:
    return [
        *module(projections, tuple(f"{theirs}.{part}" for part in "qkv")),
        *module(f"{ours}.out", f"{theirs}.o"),
    ]
