"""What is wrong with a model or a folder is said in one line before anything is made of it."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from references import ONE_EACH, made, saved
from safetensors.torch import load_file, save_file
from torch import Tensor

from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.hf import from_hf, parity, to_hf
from archs.hf.references import REFERENCES

# architecture, options, and what the one line must name: the option, what came, what is supported.
UNSUPPORTED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, ("scale_attn_by_inverse_layer_idx=True", "False")),
    ("gpt2", {"scale_attn_weights": False}, ("scale_attn_weights=False", "True")),
    ("gpt2", {"add_cross_attention": True}, ("add_cross_attention=True", "False")),
    ("gpt2", {"activation_function": "swish"}, ("activation_function='swish'", "gelu_new, ")),
    ("bert", {"hidden_act": "swish"}, ("hidden_act='swish'", "gelu, gelu_new, gelu_pytorch_tanh, relu")),
    ("bert", {"tie_word_embeddings": False}, ("tie_word_embeddings=False", "True")),
    ("bert", {"is_decoder": True}, ("is_decoder=True", "False")),
    ("roberta", {"hidden_act": "relu"}, ("hidden_act='relu'", "'gelu'")),
    ("electra", {"hidden_act": "relu"}, ("hidden_act='relu'", "'gelu'")),
    ("albert", {"num_hidden_groups": 3}, ("num_hidden_groups=3", "1")),
    ("albert", {"inner_group_num": 2}, ("inner_group_num=2", "1")),
    (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        ("'linear'", "'default'"),
    ),
    ("llama", {"hidden_act": "gelu_fast"}, ("hidden_act='gelu_fast'", "silu")),
    ("modernbert", {"classifier_activation": "relu"}, ("classifier_activation='relu'", "'gelu'")),
    ("modernbert", {"mlp_bias": True}, ("classifier_bias=False", "True")),
    ("modernbert", {"layer_types": ["sliding_attention", *["full_attention"] * 4]}, ("layers [1, 2, 3, 4]",)),
    ("t5", {"feed_forward_proj": "gated-relu"}, ("feed_forward_proj='gated-relu'", "gated-gelu, ")),
    ("t5", {"feed_forward_proj": "silu"}, ("feed_forward_proj='silu'", "relu, ")),
    ("bart", {"decoder_attention_heads": 11}, ("decoder_attention_heads=11", "3")),
    ("bart", {"decoder_ffn_dim": 11}, ("decoder_ffn_dim=11", "37")),
    ("bart", {"scale_embedding": True}, ("scale_embedding=True", "False")),
    ("bart", {"tie_word_embeddings": False}, ("tie_word_embeddings=False", "True")),
    ("xlnet", {"attn_type": "uni"}, ("attn_type='uni'", "'bi'")),
    ("xlnet", {"bi_data": True}, ("bi_data=True", "False")),
    ("xlnet", {"clamp_len": 7}, ("clamp_len=7", "-1")),
    ("xlnet", {"same_length": True}, ("same_length=True", "False")),
]


def refusal(source: Any, capfd: pytest.CaptureFixture[str]) -> str:
    """The one line by which it is refused; nothing else is said."""
    with pytest.raises(UserError) as raised:
        from_hf(source)
    assert "\n" not in str(raised.value)
    spoken = capfd.readouterr()
    assert (spoken.out, spoken.err) == ("", "")
    return str(raised.value)


@pytest.mark.parametrize(("model_type", "changes", "named"), UNSUPPORTED)
def test_an_unsupported_option_is_named_with_what_is_supported(
    model_type: str, changes: dict, named: tuple, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = made(model_type, **changes)
    model.save_pretrained(tmp_path)
    capfd.readouterr()
    for source in (model, tmp_path):
        said = refusal(source, capfd)
        assert all(each in said for each in (model_type, *named)), said


def test_an_option_is_refused_before_any_weight_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "gpt2", scale_attn_by_inverse_layer_idx=True)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    assert "scale_attn_by_inverse_layer_idx" in refusal(tmp_path, capfd)


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def written(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def weights(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return changed


def cut(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


FIRST = "bert.encoder.layer.0.output.dense.weight"
HEAD = "cls.predictions.decoder.weight"
NORM = "bert.embeddings.LayerNorm.weight"
DAMAGES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "empty folder": (emptied, ("no config.json", "save_pretrained")),
    "no config": (without("config.json"), ("no config.json", "save_pretrained")),
    "no weights": (without("model.safetensors"), ("model.safetensors",)),
    "config cut short": (written("config.json", b'{"model_type": "be'), ("config.json", "no JSON")),
    "config not text": (written("config.json", b"\xff\xfe\x00"), ("config.json", "no JSON")),
    "config a list": (written("config.json", b"[1]"), ("holds a list",)),
    "no architecture": (written("config.json", b"{}"), ("unknown architecture 'None'", "bert")),
    "config nested deeply": (written("config.json", b"[" * 10**5), ("config.json", "no JSON", "recursion")),
    "an architecture in a list": (config(model_type=["bert"]), ("unknown architecture '['bert']'", "bert")),
    "an adapter": (written("adapter_config.json", b"{}"), ("adapter_config.json", "merge it")),
    "another architecture": (config(model_type="mamba"), ("unknown architecture 'mamba'", *REFERENCES)),
    "an unknown activation": (config(hidden_act="wavy"), ("hidden_act='wavy'", "gelu")),
    "a width of words": (config(hidden_size="wide"), ("hidden_size", "wide", "int")),
    "heads that do not fit": (config(num_attention_heads=7), ("30", "heads 7")),
    "more layers": (config(num_hidden_layers=4), ("missing weights", "layer.3", "13 more")),
    "fewer layers": (config(num_hidden_layers=2), ("extra weights", "layer.2", "13 more")),
    "a larger vocabulary": (config(vocab_size=62), ("shape mismatch", "(61", "(62")),
    "a missing weight": (weights(lambda found: found.pop(FIRST)), ("missing weights", FIRST)),
    "an extra weight": (weights(lambda found: found.update(mine=torch.ones(2))), ("extra weights", "mine")),
    "a narrow weight": (
        weights(lambda found: found.update({NORM: torch.ones(3)})),
        ("shape mismatch", NORM, "(3,)", "(30,)"),
    ),
    "a head of other weights": (
        weights(lambda found: found.update({HEAD: torch.ones(61, 30)})),
        ("extra weights", HEAD),
    ),
    "weights cut short": (cut, ("cannot be read", "incomplete")),
    "weights of noise": (written("model.safetensors", b"noise" * 999), ("cannot be read",)),
}


@pytest.mark.parametrize(("damage", "named"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_refused(
    damage: Callable, named: tuple, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(saved(tmp_path, "bert"))
    capfd.readouterr()
    said = refusal(tmp_path, capfd)
    assert all(each in said for each in named), said


def test_no_folder_and_a_file_are_no_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for place in ("nowhere", "file"):
        assert f"no config.json in '{tmp_path / place}'" in refusal(tmp_path / place, capfd)


class Attack:
    """A pickle that makes a file when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("write", [torch.save, lambda found, file: file.write_bytes(pickle.dumps(found))])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    write: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, trace = saved(tmp_path / "model", "bert"), tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    write({"attack": Attack(trace)}, folder / "pytorch_model.bin")
    capfd.readouterr()
    assert "could run code" in refusal(folder, capfd)
    assert not trace.exists()


def test_a_pickle_of_tensors_alone_is_opened(tmp_path: Path) -> None:
    model = made("gpt2")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    back = from_hf(tmp_path).state_dict()
    assert all(torch.equal(back[name], each) for name, each in from_hf(model).state_dict().items())


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (transformers.BertModel, "BertForMaskedLM"),
        (transformers.BertForSequenceClassification, "BertForMaskedLM"),
        (transformers.BertForPreTraining, "BertForMaskedLM"),
        (transformers.ElectraForPreTraining, "ElectraForMaskedLM"),
        (transformers.GPT2Model, "GPT2LMHeadModel"),
        (transformers.T5EncoderModel, "T5ForConditionalGeneration"),
    ],
)
def test_a_model_without_a_language_model_head_is_refused_with_the_class_that_has_one(
    model: Any, wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = model(model.config_class(**ONE_EACH[model.config_class.model_type]))
    capfd.readouterr()
    assert refusal(made, capfd) == f"{model.__name__} is not taken; give a {wanted}"


def test_a_folder_of_a_model_without_a_head_is_missing_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    transformers.BertModel(transformers.BertConfig(**ONE_EACH["bert"])).save_pretrained(tmp_path)
    assert "missing weights" in (said := refusal(tmp_path, capfd))
    assert "cls.predictions" in said


def test_what_stands_beside_a_language_model_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = transformers.BertForPreTraining(transformers.BertConfig(**ONE_EACH["bert"])).eval()
    model.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        family = from_hf(tmp_path)
    assert "bert.pooler.dense.weight" in caplog.text
    assert "cls.seq_relationship.bias" in caplog.text
    assert torch.equal(family.embedding.weight, model.bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "mamba"}, "'mamba'"),
        ({"core": {"width": 16}}, "missing"),
        ({"core": None}, "NoneType"),
        ({"core": {"spin": 1}}, "spin"),
    ],
)
def test_a_config_of_ours_that_describes_no_family_is_refused(
    change: dict, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to_hf(from_hf(made("gpt2")), tmp_path, model_type="pentarch")
    config(**change)(tmp_path)
    capfd.readouterr()
    assert said in refusal(tmp_path, capfd)


def test_weights_of_ours_must_be_the_family_s(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    to_hf(from_hf(made("gpt2")), tmp_path, model_type="pentarch")
    weights(lambda found: found.pop("family.stack.final_norm.weight"))(tmp_path)
    assert "missing weights" in (said := refusal(tmp_path, capfd))
    assert "family.stack.final_norm.weight" in said


def test_the_caller_s_own_settings_of_transformers_come_back(tmp_path: Path) -> None:
    speak = transformers.utils.logging
    before = speak.get_verbosity(), speak.is_progress_bar_enabled()
    try:
        speak.set_verbosity_info()
        speak.enable_progress_bar()
        with pytest.raises(UserError):
            from_hf(tmp_path)
        from_hf(saved(tmp_path, "gpt2"))
        assert (speak.get_verbosity(), speak.is_progress_bar_enabled()) == (logging.INFO, True)
    finally:
        speak.set_verbosity(before[0])
        (speak.enable_progress_bar if before[1] else speak.disable_progress_bar)()


@pytest.mark.parametrize("damage", ["no config", "config cut short", "more layers", "weights cut short"])
def test_the_command_says_it_in_one_line_and_exits_with_2(
    damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage][0](saved(tmp_path, "bert"))
    capfd.readouterr()
    with pytest.raises(SystemExit) as stopped:
        parity.main([str(tmp_path)])
    assert stopped.value.code == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")


def test_our_own_code_is_compared_with_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    to_hf(from_hf(made("gpt2")), tmp_path, model_type="pentarch")
    with pytest.raises(SystemExit):
        parity.main([str(tmp_path)])
    assert "unknown architecture 'pentarch'" in capfd.readouterr().err


def test_a_mask_of_one_s_own_on_an_imported_model_stays_here(tmp_path: Path) -> None:
    family = from_hf(made("gpt2"))
    assert isinstance(family, DecoderAR)
    family.build_mask = lambda batch: DecoderAR.default_mask(batch)
    with pytest.raises(UserError, match="would not travel"):
        to_hf(family, tmp_path)


def test_masks_that_old_versions_saved_with_a_gpt2_are_left_out(tmp_path: Path) -> None:
    model = made("gpt2")
    model.save_pretrained(tmp_path)
    buffers = {
        f"transformer.h.{n}.attn.{name}": torch.ones(3) for n in range(3) for name in ("masked_bias", "bias")
    }
    weights(lambda found: found.update(buffers))(tmp_path)
    back = from_hf(tmp_path).state_dict()
    assert all(torch.equal(back[name], each) for name, each in from_hf(model).state_dict().items())
    weights(lambda found: found.update({"transformer.h.0.attn.q_bias": torch.ones(3)}))(tmp_path)
    with pytest.raises(UserError, match="extra weights"):
        from_hf(tmp_path)


@pytest.mark.parametrize("source", [None, {}, 3, torch.nn.Linear(2, 2)])
def test_what_is_neither_model_nor_folder_is_refused(source: Any, capfd: pytest.CaptureFixture[str]) -> None:
    said = refusal(source, capfd)
    assert said == f"from_hf takes a Hugging Face model or its folder, not a {type(source).__name__}"


def test_weights_on_the_meta_device_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert "on the meta device" in refusal(torch.nn.Module.to(made("gpt2"), "meta"), capfd)


def test_a_roberta_without_padding_has_no_positions_and_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config(pad_token_id=None)(saved(tmp_path, "roberta"))
    capfd.readouterr()
    assert "pad_token_id=None" in refusal(tmp_path, capfd)


def test_parity_prints_no_head_for_a_folder_that_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parity.main([str(tmp_path)])
    assert capfd.readouterr().out == ""


def test_a_small_model_is_compared_with_short_texts_and_a_tiny_one_refused() -> None:
    for model_type, options in (("gpt2", {"n_positions": 6}), ("bart", {"max_position_embeddings": 8})):
        assert parity.compare(made(model_type, **options)).logits < 1e-4
    for options in ({"n_positions": 5}, {"vocab_size": 1}):
        with pytest.raises(UserError, match="too small to be compared"):
            parity.compare(made("gpt2", **options))
