"""Small configurations with random weights. Together they use every supported option of each architecture."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from archs.hf.references import REFERENCES
from archs.hf.t5 import untie

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = {
    "vocab_size": 61,
    "hidden_size": 30,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
T5 = {
    "vocab_size": 61,
    "d_model": 30,
    "d_kv": 7,
    "d_ff": 37,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
}
LLAMA = BERT | TOKENS | {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 3}
MODERN = BERT | TOKENS | {"hidden_size": 36, "num_hidden_layers": 5, "local_attention": 6}
MODERN |= {"cls_token_id": 1, "sep_token_id": 2}
BART = {
    "vocab_size": 61,
    "d_model": 33,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "max_position_embeddings": 40,
}
GPT2 = {"vocab_size": 61, "n_embd": 30, "n_layer": 3, "n_head": 3, "n_positions": 40, **TOKENS}
XLNET = {"vocab_size": 61, "d_model": 30, "n_layer": 3, "n_head": 3, "d_inner": 37}

# model, description of the configuration, model_type, arguments
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("BERT", "30 wide, 3 heads, ffn 37", "bert", BERT),
    (
        "BERT",
        "relu, one type",
        "bert",
        BERT | {"hidden_act": "relu", "type_vocab_size": 1},
    ),
    ("RoBERTa", "30 wide, 3 heads, ffn 37", "roberta", BERT | {"pad_token_id": 1}),
    ("GPT-2", "30 wide, 3 heads, ffn 120", "gpt2", GPT2),
    (
        "GPT-2",
        "untied, ffn 37, gelu",
        "gpt2",
        GPT2 | {"n_inner": 37, "activation_function": "gelu", "tie_word_embeddings": False},
    ),
    ("T5", "2 + 3 layers, heads 3 x 7, 8 buckets", "t5", T5),
    (
        "T5 v1.1",
        "2 + 3 layers, heads 3 x 7, gated, untied",
        "t5",
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    ("BART", "2 + 3 layers, 33 wide, 3 heads", "bart", BART),
    ("XLNet", "30 wide, 3 heads, ffn 37", "xlnet", XLNET),
    ("XLNet", "untied, relu", "xlnet", XLNET | {"ff_activation": "relu", "tie_word_embeddings": False}),
    ("ALBERT", "embeddings 11 wide", "albert", BERT | {"embedding_size": 11}),
    ("ELECTRA", "generator, embeddings 11 wide", "electra", BERT | {"embedding_size": 11}),
    ("ELECTRA", "generator, embeddings as wide", "electra", BERT | {"embedding_size": 30}),
    ("Llama", "3 key heads for 6, untied", "llama", LLAMA),
    (
        "Llama",
        "heads 6 x 10, biases, tied",
        "llama",
        LLAMA
        | {
            "head_dim": 10,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
    ),
    ("ModernBERT", "5 layers, each third global, window 3", "modernbert", MODERN),
    (
        "ModernBERT",
        "biases, one global layer",
        "modernbert",
        MODERN
        | {
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "global_attn_every_n_layers": 5,
        },
    ),
]


def build(model_type: str, arguments: dict[str, Any], seed: int = 0) -> PreTrainedModel:
    """The model with random weights, so large that each part of the model changes the logits."""
    config = transformers.AutoConfig.for_model(model_type, **arguments)
    torch.manual_seed(seed)
    model = getattr(transformers, REFERENCES[model_type].architecture)(config)
    if not arguments.get("tie_word_embeddings", True):
        untie(model)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() < 2:  # norms and biases: moved from their initial values
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.normal_(std=weight.shape[-1] ** -0.5)
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.normal_()
    return model.eval()
