"""XLNet (Yang et al. 2019), without its memory of earlier segments."""

from __future__ import annotations

from typing import Any

from archs.config import CoreConfig
from archs.families.permuted_lm import PermutedLM
from archs.hf.reference import Reference, activation, only, their_activation
from archs.hf.weights import Link, module


class XLNet(Reference):
    model_type = "xlnet"
    architecture = "XLNetLMHeadModel"
    family = PermutedLM

    def core(self, config: Any, tied: bool) -> CoreConfig:
        only(config, attn_type="bi", bi_data=False, clamp_len=-1, same_length=False)
        return CoreConfig(
            vocabulary=config.vocab_size,
            layers=config.n_layer,
            width=config.d_model,
            heads=config.n_head,
            ffn=config.d_inner,
            max_length=512,  # of the published models; no position is learned
            positions="transformer_xl",
            norm="layer",
            norm_order="post",
            norm_eps=config.layer_norm_eps,
            activation=activation(config, "ff_activation"),
            ffn_bias=True,
            tied=tied,
            head_bias=True,
            dropout=config.dropout,
            attention_dropout=config.dropout,
        )

    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        return {
            "vocab_size": core.vocabulary,
            "n_layer": core.layers,
            "d_model": core.width,
            "n_head": core.heads,
            "d_inner": core.ffn,
            "layer_norm_eps": core.norm_eps,
            "ff_activation": their_activation(core),
            "tie_word_embeddings": core.tied,
            "dropout": core.dropout,
            **tokens,
        }

    def links(self, config: Any) -> list[Link]:
        links = [
            *module("embedding", "transformer.word_embedding"),
            Link(("query",), ("transformer.mask_emb",), "row"),
            Link(("head.weight",), ("lm_loss.weight",)),
            Link(("head.bias",), ("lm_loss.bias",)),
        ]
        for number in range(config.n_layer):
            ours, theirs = f"stack.blocks.{number}", f"transformer.layer.{number}"
            attention, rel = f"{ours}.attention", f"{theirs}.rel_attn"
            relative = f"{attention}.relative"
            links += [
                Link(
                    (f"{attention}.query_key_value.weight",),
                    tuple(f"{rel}.{part}" for part in "qkv"),
                    "heads_in",
                ),
                Link((f"{attention}.out.weight",), (f"{rel}.o",), "heads_out"),
                Link((f"{relative}.distance.weight",), (f"{rel}.r",), "heads_in"),
                Link((f"{relative}.content_bias",), (f"{rel}.r_w_bias",)),
                Link((f"{relative}.position_bias",), (f"{rel}.r_r_bias",)),
                Link((f"{relative}.kind_bias",), (f"{rel}.r_s_bias",)),
                Link((f"{relative}.kinds",), (f"{rel}.seg_embed",)),
                *module(f"{ours}.attention_norm", f"{rel}.layer_norm"),
                *module(f"{ours}.ffn.up", f"{theirs}.ff.layer_1"),
                *module(f"{ours}.ffn.down", f"{theirs}.ff.layer_2"),
                *module(f"{ours}.ffn_norm", f"{theirs}.ff.layer_norm"),
            ]
        return links
