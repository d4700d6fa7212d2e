"""ELECTRA's generator (Clark et al. 2020): BERT with factorised embeddings."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.encoder_ae import EncoderAE
from archs.hf.bert_like import bert_config, bert_core, embeddings, head, layer
from archs.hf.reference import Reference, only
from archs.hf.weights import Link, module


class Electra(Reference):
    model_type = "electra"
    architecture = "ElectraForMaskedLM"
    family = EncoderAE
    counts = "position_ids"

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, hidden_act="gelu")  # its head has no other
        factorised = config.embedding_size != config.hidden_size
        shape = bert_core(config)
        return CoreConfig(**shape, embedding_width=config.embedding_size if factorised else None)

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return bert_config(core, tokens) | {"embedding_size": core.token_width}

    def links(self, config: Any) -> list[Link]:
        links = embeddings("electra.embeddings")
        links += module("placement.widen", "electra.embeddings_project")
        for number in range(config.num_hidden_layers):
            links += layer(f"stack.blocks.{number}", f"electra.encoder.layer.{number}")
        top = "generator_predictions"
        return links + head(f"{top}.dense", f"{top}.LayerNorm", "generator_lm_head.bias")
