"""RoBERTa (Liu et al. 2019): BERT with its own head, and positions that start after the padding's."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from archs.hf.bert_like import bert_config, bert_core, embeddings, head, layer
from archs.hf.reference import Reference, only
from archs.hf.weights import Link

PADDING = 1


class Roberta(Reference):
    model_type = "roberta"
    architecture = "RobertaForMaskedLM"
    family = EncoderAE
    left_out = (r"roberta\.pooler\.",)

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, hidden_act="gelu")  # its head has no other
        if config.pad_token_id is None:
            raise UserError("roberta config has pad_token_id=None, from which positions are counted; set it")
        unreached = config.pad_token_id + 1
        shape = bert_core(config)
        return CoreConfig(**shape | {"max_length": config.max_position_embeddings - unreached})

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        pad = tokens.get("pad_token_id")
        pad = PADDING if pad is None else pad
        config = bert_config(core, tokens)
        return config | {"pad_token_id": pad, "max_position_embeddings": core.max_length + pad + 1}

    def links(self, config: Any) -> list[Link]:
        links = embeddings("roberta.embeddings", skip=config.pad_token_id + 1)
        for number in range(config.num_hidden_layers):
            links += layer(f"stack.blocks.{number}", f"roberta.encoder.layer.{number}")
        return links + head("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
