"""ALBERT (Lan et al. 2020): BERT with factorised embeddings and one layer's weights for all."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.encoder_ae import EncoderAE
from archs.hf.bert_like import bert_config, bert_core, embeddings, head
from archs.hf.reference import Reference, only
from archs.hf.weights import Link, module


class Albert(Reference):
    model_type = "albert"
    architecture = "AlbertForMaskedLM"
    family = EncoderAE
    counts = "position_ids"
    left_out = (r"albert\.pooler\.", r"sop_classifier\.")

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, num_hidden_groups=1, inner_group_num=1)
        shape = bert_core(config)
        return CoreConfig(**shape, embedding_width=config.embedding_size, shared_layers=True)

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return bert_config(core, tokens) | {"embedding_size": core.token_width}

    def links(self, config: Any) -> list[Link]:
        ours, theirs = "stack.blocks.0", "albert.encoder.albert_layer_groups.0.albert_layers.0"
        attention = f"{theirs}.attention"
        return [
            *embeddings("albert.embeddings"),
            *module("placement.widen", "albert.encoder.embedding_hidden_mapping_in"),
            *module(
                f"{ours}.attention.query_key_value",
                tuple(f"{attention}.{part}" for part in ("query", "key", "value")),
            ),
            *module(f"{ours}.attention.out", f"{attention}.dense"),
            *module(f"{ours}.attention_norm", f"{attention}.LayerNorm"),
            *module(f"{ours}.ffn.up", f"{theirs}.ffn"),
            *module(f"{ours}.ffn.down", f"{theirs}.ffn_output"),
            *module(f"{ours}.ffn_norm", f"{theirs}.full_layer_layer_norm"),
            *head("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
        ]
