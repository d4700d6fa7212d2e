"""Cores that between them use every option, by name."""

from __future__ import annotations

from typing import Any

BIASED = {"attention_bias": True, "ffn_bias": True, "head_bias": True}
CORES: dict[str, dict[str, Any]] = {
    "plain": {},
    "post-norm learned": {"norm_order": "post", "norm": "layer", "positions": "learned"},
    "swiglu grouped untied": {"activation": "swiglu", "kv_heads": 1, "tied": False},
    "BERT": {
        "positions": "learned",
        "token_types": 2,
        "norm": "layer",
        "norm_order": "post",
        "embedding_norm": True,
        "head_transform": True,
        **BIASED,
    },
    "T5": {
        "positions": "relative",
        "relative_buckets": 8,
        "relative_distance": 12,
        "attention_width": 20,
        "attention_scaled": False,
        "activation": "relu",
        "logit_scale": 0.25,
    },
    "T5 v1.1": {
        "positions": "relative",
        "activation": "geglu_tanh",
        "attention_scaled": False,
        "tied": False,
    },
    "XLNet": {
        "positions": "transformer_xl",
        "norm": "layer",
        "norm_order": "post",
        "ffn_bias": True,
        "head_bias": True,
    },
    "ALBERT": {
        "positions": "learned",
        "norm": "layer",
        "norm_order": "post",
        "embedding_norm": True,
        "embedding_width": 10,
        "shared_layers": True,
        "activation": "gelu_tanh",
        "head_transform": True,
        **BIASED,
    },
    "ModernBERT": {
        "norm": "layer",
        "norm_bias": False,
        "embedding_norm": True,
        "activation": "geglu",
        "window": 3,
        "global_every": 2,
        "rope_base": 500.0,
        "local_rope_base": 100.0,
    },
    "factorised": {"embedding_width": 10, "tied": False},
    # Of an encoder-decoder; single stacks have one anyway.
    "shared stacks": {
        "shared_stacks": True,
        "positions": "relative",
        "norm": "layer",
        "embedding_norm": True,
        "tied": False,
    },
}
