"""BERT (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.encoder_ae import EncoderAE
from archs.hf.bert_like import bert_config, bert_core, embeddings, head, layer
from archs.hf.reference import Reference
from archs.hf.weights import Link


class Bert(Reference):
    model_type = "bert"
    architecture = "BertForMaskedLM"
    family = EncoderAE
    counts = "position_ids"
    left_out = (r"bert\.pooler\.", r"cls\.seq_relationship\.")

    def core(self, config: Any, tied: bool) -> CoreConfig:
        return CoreConfig(**bert_core(config))

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return bert_config(core, tokens)

    def links(self, config: Any) -> list[Link]:
        links = embeddings("bert.embeddings")
        for number in range(config.num_hidden_layers):
            links += layer(f"stack.blocks.{number}", f"bert.encoder.layer.{number}")
        top = "cls.predictions"
        return links + head(f"{top}.transform.dense", f"{top}.transform.LayerNorm", f"{top}.bias")
