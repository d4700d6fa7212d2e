"""From Hugging Face and back: the same weights, the same config, and native classes that answer the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from references import NAMES, logits_of, made, open_auto
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from archs import CoreConfig, Family, build
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.hf import cases, from_hf, to_hf
from archs.hf.references import REFERENCES
from archs.masks import FULL

PLAIN = CoreConfig(vocabulary=50, layers=2, width=16, heads=2, ffn=32, max_length=64)


def assert_same(one: Family, two: Family) -> None:
    assert type(one) is type(two)
    assert one.config == two.config
    left, right = one.state_dict(), two.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_again_nothing_has_changed(name: str, tmp_path: Path) -> None:
    model_type, arguments = NAMES[name]
    model = cases.build(model_type, arguments)
    model.save_pretrained(tmp_path / "theirs")
    family = from_hf(model)
    assert_same(from_hf(tmp_path / "theirs"), family)
    assert to_hf(family, tmp_path / "ours", model_type=model_type) == REFERENCES[model_type].architecture
    assert_same(from_hf(tmp_path / "ours"), family)
    opened = open_auto(model_type, tmp_path / "ours")
    assert type(opened) is type(model)
    assert torch.equal(logits_of(opened), logits_of(model))
    assert not list((tmp_path / "ours").glob("*.py"))  # native: no code of ours


# The dropout of hidden states and of attention weights in the words of each config.
BERT_S = ("hidden_dropout_prob", "attention_probs_dropout_prob")
RATES: dict[str, tuple[str | None, str]] = {
    **dict.fromkeys(("bert", "roberta", "albert", "electra"), BERT_S),
    "modernbert": ("mlp_dropout", "attention_dropout"),
    "gpt2": ("resid_pdrop", "attn_pdrop"),
    "llama": (None, "attention_dropout"),
    "t5": ("dropout_rate", "dropout_rate"),
    "bart": ("dropout", "attention_dropout"),
    "xlnet": ("dropout", "dropout"),
}


@pytest.mark.parametrize("model_type", REFERENCES)
def test_both_kinds_of_dropout_are_taken_over_and_written_back(model_type: str, tmp_path: Path) -> None:
    hidden, attention = RATES[model_type]
    rates = {attention: 0.2} if hidden in (None, attention) else {hidden: 0.3, attention: 0.2}
    family = from_hf(made(model_type, **rates))
    expected = (0.0 if hidden is None else rates[hidden], 0.2)
    assert (family.config.dropout, family.config.attention_dropout) == expected
    to_hf(family, tmp_path, model_type=model_type)
    written = json.loads((tmp_path / "config.json").read_text())
    assert {name: written[name] for name in rates} == rates


@pytest.mark.parametrize("name", NAMES)
def test_a_shared_weight_stays_shared(name: str) -> None:
    family = from_hf(cases.build(*NAMES[name]))
    assert family.config.tied is (family.head.weight is family.embedding.weight)
    assert family.config.tied is ("untied" not in name)


def test_the_two_heads_of_t5_survive_a_folder_both_ways(tmp_path: Path) -> None:
    model = made("t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "theirs")
    written = safetensors.torch.load_file(tmp_path / "theirs" / "model.safetensors")
    assert not torch.equal(written["lm_head.weight"], written["shared.weight"])
    family = from_hf(tmp_path / "theirs")
    assert (family.config.tied, family.config.logit_scale) == (False, 1.0)
    to_hf(family, tmp_path / "ours")
    for folder in ("theirs", "ours"):  # transformers leaves two weights that differ two
        assert torch.equal(logits_of(open_auto("t5", tmp_path / folder)), logits_of(model))


def test_an_original_t5_stays_tied_and_scaled(tmp_path: Path) -> None:
    family = from_hf(made("t5"))
    assert (family.config.tied, family.config.logit_scale) == (True, 30**-0.5)
    to_hf(family, tmp_path)
    assert "lm_head.weight" not in safetensors.torch.load_file(tmp_path / "model.safetensors")


def test_a_roberta_is_exported_as_one_if_asked_and_else_as_a_bert_that_answers_the_same(
    tmp_path: Path,
) -> None:
    model = made("roberta")
    family = from_hf(model)
    assert to_hf(family, tmp_path / "roberta", model_type="roberta") == "RobertaForMaskedLM"
    assert to_hf(family, tmp_path / "bert") == "BertForMaskedLM"
    as_bert = logits_of(open_auto("bert", tmp_path / "bert"))
    assert torch.allclose(as_bert, logits_of(model), atol=1e-5)


def test_token_ids_stand_in_the_config_and_no_others(tmp_path: Path) -> None:
    to_hf(from_hf(made("bart")), tmp_path, pad_token_id=7, bos_token_id=8, eos_token_id=9)
    config = json.loads((tmp_path / "config.json").read_text())
    assert [config[f"{role}_token_id"] for role in ("pad", "bos", "eos", "decoder_start")] == [7, 8, 9, 8]
    to_hf(from_hf(made("llama")), tmp_path / "none")
    opened = open_auto("llama", tmp_path / "none").config
    assert (opened.pad_token_id, opened.bos_token_id, opened.eos_token_id) == (None, None, None)


@pytest.mark.parametrize(
    ("kind", "changes", "architecture"),
    [
        ("decoder_ar", {"activation": "swiglu"}, "LlamaForCausalLM"),
        ("decoder_ar", {"activation": "swiglu", "kv_heads": 1, "tied": False}, "LlamaForCausalLM"),
        (
            "decoder_ar",
            {"activation": "swiglu", "dropout": 0.1, "attention_dropout": 0.2},
            "LlamaForCausalLM",
        ),
        ("decoder_ar", {}, "PentarchForCausalLM"),
        ("prefix_lm", {"activation": "swiglu"}, "PentarchForCausalLM"),
        ("permuted_lm", {}, "PentarchForCausalLM"),
        ("encoder_ae", {}, "PentarchForMaskedLM"),
        ("encoder_decoder", {"decoder_layers": 2}, "PentarchForSeq2SeqLM"),
        (
            "encoder_decoder",
            {"decoder_layers": 2, "positions": "relative", "attention_scaled": False, "activation": "relu"},
            "T5ForConditionalGeneration",
        ),
        (
            "encoder_decoder",  # no class of theirs shares the weights of its stacks
            {
                "decoder_layers": 2,
                "positions": "relative",
                "attention_scaled": False,
                "activation": "relu",
                "shared_stacks": True,
            },
            "PentarchForSeq2SeqLM",
        ),
    ],
)
def test_a_family_of_ours_is_native_where_a_class_computes_the_same(
    kind: str, changes: dict[str, Any], architecture: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    family = build(kind, replace(PLAIN, **changes)).eval()
    assert to_hf(family, tmp_path) == architecture
    back = from_hf(tmp_path)
    assert all(torch.equal(*pair) for pair in zip(back.parameters(), family.parameters(), strict=True))


def test_ours_is_written_if_asked_even_where_a_native_class_would_do(tmp_path: Path) -> None:
    family = from_hf(made("gpt2"))
    assert to_hf(family, tmp_path, model_type="pentarch") == "PentarchForCausalLM"
    assert_same(from_hf(tmp_path), family)


class Mine(DecoderAR):
    pass


def tokenizer_of(size: int) -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(size)}
    backend = Tokenizer(models.WordLevel(words, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="w1")


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        (DecoderAR(PLAIN), {"model_type": "gpt2"}, "choose one of: pentarch"),
        (Mine(PLAIN), {}, "a family of your own"),
        (DecoderAR(PLAIN, mask=lambda batch: FULL), {}, "a mask of your own"),
        (DecoderAR(PLAIN), {"bos_token": 1}, "'bos_token'"),
        (DecoderAR(PLAIN), {"bos_token_id": 50}, "0 to 49"),
        (DecoderAR(PLAIN), {"bos_token_id": "a"}, "bos_token_id='a' is no token's id"),
        (DecoderAR(PLAIN), {"bos_token_id": 1.5}, "bos_token_id=1.5"),
        (DecoderAR(PLAIN), {"bos_token_id": [1, 2]}, "bos_token_id="),
        (DecoderAR(PLAIN), {"tokenizer": "gpt2"}, "a str is no tokenizer"),
        (DecoderAR(PLAIN), {"tokenizer": tokenizer_of(51)}, "51 tokens"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line_and_nothing_is_written(
    family: Family, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as raised:
        to_hf(family, tmp_path / "out", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        to_hf(DecoderAR(PLAIN), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"):
        to_hf(DecoderAR(PLAIN), tmp_path / "file" / "out")


def test_the_tokenizer_goes_with_the_model(tmp_path: Path) -> None:
    to_hf(DecoderAR(PLAIN), tmp_path, tokenizer_of(50))
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 1
    assert (tmp_path / "tokenizer.json").exists()


def test_weights_of_another_precision_come_in_as_float32(tmp_path: Path) -> None:
    model = made("llama").bfloat16()
    model.save_pretrained(tmp_path)
    for source in (model, tmp_path):
        family = from_hf(source)
        assert {weight.dtype for weight in family.parameters()} == {torch.float32}
        assert torch.equal(family.embedding.weight, model.get_input_embeddings().weight.float())


def test_the_model_keeps_weights_of_its_own() -> None:
    model = made("gpt2")
    before = logits_of(model)
    family = from_hf(model)
    with torch.no_grad():
        for weight in family.parameters():
            weight.zero_()
    assert torch.equal(logits_of(model), before)
