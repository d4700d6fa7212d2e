"""`pentarch import`: a Hugging Face model is a run, and says what Hugging Face's own code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from archs.config import CoreConfig
from archs.decoding.decoding import Decoding
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.family import Family
from archs.families.prefix_lm import PrefixLM
from archs.hf import from_hf, to_hf
from archs.hf.cases import CASES, build
from archs.hf.folder import quiet
from archs.hf.references import REFERENCES
from experiments.budget.solver import own_config
from experiments.evaluation.scoring.scoring import score_texts
from experiments.evaluation.writing import continue_text, generate_text
from experiments.runs.hugging_face.imported import import_model, recipe_of
from experiments.runs.run import Run, restore
from experiments.storage.json_files import read_json
from objectives.classification import Classification

ROOT = Path(__file__).parents[3]
WORDS = ("the", "state", "of", "our", "union", "is", "strong", "and", "growing", "fast", "with", "people")
TEXT = "\n\n".join(" ".join(WORDS[(i * n) % len(WORDS)] for i in range(80)) for n in range(1, 200))
TEXTS = ["the state of our union", "x", "中文 😀 <s> <|endoftext|>", " people is people\n\nand growing"]
PAIRS = [
    ("the people are free", "the people is free"),
    ("our union is strong", "our strong is union"),
    ("My fellow", "my Fellow"),
]
PAIRS += [PAIRS[0][::-1]]

SIZE = 330  # embeddings, more than either tokenizer has ids
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>"]
MARKS += [f"<extra_id_{number}>" for number in range(30)]
GPT2_MARKS = ["<|endoftext|>"]
ROLES = {"pad": "[PAD]", "bos": "<s>", "eos": "</s>", "mask": "[MASK]", "cls": "[CLS]", "sep": "[SEP]"}
GPT2_ROLES = {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 160, "bos_token_id": 0, "eos_token_id": 0}
ARGUMENTS: dict[str, dict[str, Any]] = {
    **{kind: arguments for _, _, kind, arguments in reversed(CASES)},
    "gpt2": GPT2,
    "bert": SMALL | {"max_position_embeddings": 160, "type_vocab_size": 2},
}
ARGUMENTS["t5"] |= {"decoder_start_token_id": 0}


def tokenizer_for(model_type: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE; that of GPT-2 has one special token."""
    marks, roles = (GPT2_MARKS, GPT2_ROLES) if model_type == "gpt2" else (MARKS, ROLES)
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    backend.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([TEXT], trainer)
    named = {f"{role}_token": token for role, token in roles.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


def saved(folder: Path, model_type: str, **changes: Any) -> Path:
    """A folder with a small random model of this architecture and a tokenizer, as Hugging Face saves them."""
    with quiet():
        build(model_type, ARGUMENTS[model_type] | {"vocab_size": SIZE, **changes}).save_pretrained(folder)
        tokenizer_for(model_type).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a run of seconds on a short text."""
    place = tmp_path_factory.mktemp("text")
    (place / "text.txt").write_text(TEXT)
    data = [f"data.path={place}/text.txt", f"data.cache={place}/cache"]
    return [*data, "evaluation=likelihood", "tracking=none", "training.accelerator=cpu", "training.batch=2"]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory, settings: list[str]) -> tuple[PreTrainedModel, Run]:
    return imported(tmp_path_factory.mktemp("gpt2"), "gpt2", settings)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, settings: list[str]) -> tuple[PreTrainedModel, Run]:
    return imported(tmp_path_factory.mktemp("bert"), "bert", settings)


def imported(place: Path, model_type: str, settings: list[str]) -> tuple[PreTrainedModel, Run]:
    """Hugging Face's own model, and the run made of its folder."""
    folder = saved(place / "model", model_type)
    import_model(str(folder), place / "run", settings)
    import transformers

    with quiet():
        model = getattr(transformers, REFERENCES[model_type].architecture).from_pretrained(folder).eval()
    return model, restore(place / "run")


def weights(family: Family) -> Iterator[tuple[str, Tensor]]:
    return iter(family.state_dict().items())


# The family, its objective, and what is read first: bos, or what the model's own decoder starts with.
NATURAL = {
    "bert": ("encoder_ae", "mlm", "<s>"),
    "roberta": ("encoder_ae", "mlm", "<s>"),
    "albert": ("encoder_ae", "mlm", "<s>"),
    "electra": ("encoder_ae", "mlm", "<s>"),
    "modernbert": ("encoder_ae", "mlm", "<s>"),
    "gpt2": ("decoder_ar", "causal", "<|endoftext|>"),
    "llama": ("decoder_ar", "causal", "<s>"),
    "t5": ("encoder_decoder", "span", "[PAD]"),
    "bart": ("encoder_decoder", "denoising", "[CLS]"),
    "xlnet": ("permuted_lm", "permutation", "<s>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", REFERENCES)
def test_every_architecture_is_a_run_with_its_weights_asked_by_its_natural_objective(
    model_type: str, tmp_path: Path, settings: list[str]
) -> None:
    folder = saved(tmp_path / "model", model_type)
    import_model(str(folder), tmp_path / "run", settings)
    run, family = restore(tmp_path / "run"), from_hf(folder)
    first = run.corpus.tokenizer.pieces[run.corpus.vocabulary.bos]
    assert (run.recipe.family.name, run.recipe.objective.name, first) == NATURAL[model_type]
    assert run.family.config == family.config
    for (name, ours), (other, theirs) in zip(weights(run.family), weights(family), strict=True):
        assert name == other
        assert torch.equal(ours, theirs)
    size = run.recipe.size
    said = size.core(SIZE, family.config.max_length)
    assert replace(said, decoder_layers=size.decoder_layers) == family.config
    assert run.corpus.vocabulary.size == SIZE
    assert score_texts(run, ["the state"])[0].nats > 0


def test_a_recipe_of_the_size_has_as_many_learned_positions(bert: tuple[PreTrainedModel, Run]) -> None:
    recipe = bert[1].recipe
    assert recipe.size.length == 76
    assert own_config(recipe.size, SIZE).max_length == bert[1].family.config.max_length == 160


def test_the_audit_says_that_nothing_was_spent_here_and_where_the_weights_are_from(
    gpt2: tuple[PreTrainedModel, Run],
) -> None:
    folder = gpt2[1].folder
    audit = read_json(folder.audit)
    assert audit["spent"] == {"steps": 0, "tokens": 0, "targets": 0, "flops": 0, "seconds": 0.0}
    assert audit["imported"] == {
        "from": str(folder.path.parent / "model"),
        "folder": str((folder.path.parent / "model").resolve()),
        "architecture": "GPT2LMHeadModel",
    }
    assert gpt2[1].recipe.budget.spends == 0
    assert folder.is_("trained")


@torch.no_grad()
def left_to_right(model: PreTrainedModel, run: Run, text: str) -> float:
    """-log p of the text's tokens by Hugging Face's own loss, after the token that begins a text."""
    ids = torch.tensor([[run.corpus.vocabulary.bos, *run.corpus.tokenizer.encode(text)]])
    return float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)


@torch.no_grad()
def one_by_one(model: PreTrainedModel, run: Run, text: str) -> float:
    """Minus the sum over tokens of log p(token | all others), each masked alone."""
    ids, nats = torch.tensor([run.corpus.tokenizer.encode(text)]), 0.0
    for place in range(ids.shape[1]):
        hidden = ids.clone()
        hidden[0, place] = 4  # [MASK]
        nats -= float(model(input_ids=hidden).logits[0, place].log_softmax(dim=-1)[ids[0, place]])
    return nats


@pytest.mark.parametrize(("name", "theirs"), [("gpt2", left_to_right), ("bert", one_by_one)])
def test_texts_and_minimal_pairs_cost_the_nats_that_hugging_face_gives_them(
    name: str, theirs: Callable[..., float], request: pytest.FixtureRequest
) -> None:
    model, run = request.getfixturevalue(name)
    for text, each in zip(TEXTS, score_texts(run, TEXTS), strict=True):
        assert each.nats == pytest.approx(theirs(model, run, text), abs=1e-4)
    for pair in PAIRS:
        one, other = score_texts(run, pair)
        expected = [theirs(model, run, text) for text in pair]
        assert abs(expected[0] - expected[1]) > 1e-2  # else a preference says nothing
        assert (one.nats < other.nats) == (expected[0] < expected[1])


def test_a_context_costs_nothing_and_is_read(gpt2: tuple[PreTrainedModel, Run]) -> None:
    model, run = gpt2
    (given,) = score_texts(run, [("the state", " of our union")])
    apart = [left_to_right(model, run, text) for text in ("the state of our union", "the state")]
    assert given.nats == pytest.approx(apart[0] - apart[1], abs=1e-4)


def test_what_is_written_greedily_is_what_hugging_face_writes(gpt2: tuple[PreTrainedModel, Run]) -> None:
    model, run = gpt2
    special = run.corpus.vocabulary.special.nonzero().flatten().tolist()
    for text in TEXTS:
        ids = run.corpus.tokenizer.encode(text)
        given = torch.tensor([[run.corpus.vocabulary.bos, *ids]])
        theirs = model.generate(  # type: ignore[operator]
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=12,
            do_sample=False,
            suppress_tokens=special,
            pad_token_id=0,
        )[0, given.shape[1] :]
        ours = continue_text(run, torch.tensor([ids]), 12, Decoding())[0]
        assert ours.tolist() == theirs.tolist()
        whole = text + run.corpus.tokenizer.decode(theirs.tolist())
        assert generate_text(run.folder.path, text, 12, Decoding()) == whole


@pytest.mark.parametrize("name", ["gpt2", "bert"])
@torch.no_grad()
def test_states_of_padded_texts_and_their_mean_are_hugging_face_s(
    name: str, request: pytest.FixtureRequest
) -> None:
    model, run = request.getfixturevalue(name)
    ids = [run.corpus.tokenizer.encode(text) for text in (TEXTS[3], TEXTS[0])]
    lengths = torch.tensor([len(row) for row in ids])
    assert lengths[0] > lengths[1]
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    asks = Classification(run.corpus.vocabulary, run.family.layout)
    batch = asks.read(tokens, real.long() - 1, torch.zeros(2).long())
    ours = run.family.hidden(batch).rows
    theirs = model.base_model(input_ids=tokens, attention_mask=real.long()).last_hidden_state
    assert torch.allclose(ours[real], theirs[real], atol=1e-5)
    modules = asks.modules(run.family)
    classifier: Any = modules["pair"]
    mean = torch.stack([row[: len(text)].mean(dim=0) for row, text in zip(theirs, ids, strict=True)])
    assert torch.allclose(asks.logits(run.family, modules, batch), classifier.linear(mean), atol=1e-5)


def test_every_command_that_asks_a_run_asks_an_imported_one(
    tmp_path: Path, settings: list[str], pentarch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "model", "gpt2")
    run, elsewhere = tmp_path / "imported" / "gpt2" / "seed0", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(run.parents[2])
    code, said, told = pentarch("import", "model", "imported/gpt2/seed0", *settings)
    assert (code, said) == (
        0,
        "GPT2LMHeadModel of 'model' is now a run in 'imported/gpt2/seed0': decoder_ar, asked by causal\n",
    )
    assert all(line.startswith("gate: ") for line in told.splitlines())
    monkeypatch.chdir(elsewhere)
    code, said, told = pentarch("score", str(run), "--text", "the state")
    assert (code, told) == (0, "")
    assert json.loads(said)["unit"] == "nll"
    code, said, told = pentarch("generate", str(run), "--prompt", "the state", "--length", "4")
    assert (code, said.startswith("the state"), told) == (0, True, "")
    code, _, told = pentarch("evaluate", str(run))
    assert code == 0, told
    evaluated = read_json(run / "evaluation.json")
    assert evaluated["flow"]["ok"]
    assert evaluated["likelihood"]["unit"] == "nll"
    assert restore(run).folder.is_("done")
    code, said, _ = pentarch("export", str(run), str(tmp_path / "out"))
    assert (code, said.split(" ")[0]) == (0, "GPT2LMHeadModel")
    with quiet():
        ways = [AutoModelForCausalLM.from_pretrained(place).eval() for place in (folder, tmp_path / "out")]
    assert all(torch.equal(*each) for each in zip(*(way.parameters() for way in ways), strict=True))


@pytest.mark.parametrize("kind", [PrefixLM, EncoderDecoder])
def test_what_pentarch_exported_with_its_own_code_comes_back(
    kind: type[Family], tmp_path: Path, settings: list[str]
) -> None:
    more: dict[str, Any] = {"decoder_layers": 2, "shared_stacks": True} if kind is EncoderDecoder else {}
    family = kind(CoreConfig(vocabulary=SIZE, layers=2, width=32, heads=2, ffn=64, max_length=99, **more))
    start: dict[str, Any] = {"decoder_start_token_id": 5} if more else {}
    to_hf(family.eval(), tmp_path / "out", tokenizer_for(kind.kind), **start)
    import_model(str(tmp_path / "out"), tmp_path / "run", settings)
    run = restore(tmp_path / "run")
    assert run.family.config == family.config
    assert run.recipe.family.stacks == ("shared" if more else None)
    assert all(torch.equal(*pair) for pair in zip(run.family.parameters(), family.parameters(), strict=True))


def test_another_objective_and_window_may_be_chosen(tmp_path: Path, settings: list[str]) -> None:
    folder = saved(tmp_path / "model", "bert")
    import_model(str(folder), tmp_path / "run", [*settings, "objective=sop", "size.length=32", "seed=3"])
    recipe = restore(tmp_path / "run").recipe
    assert (recipe.objective.name, recipe.size.length, recipe.seed) == ("sop", 32, 3)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """good/, and folders that differ from it in what their names say."""
    for name in ("good", "no_config", "no_tokenizer", "unknown", "no_mask", "large_tokenizer"):
        changes = {"vocab_size": 290} if name == "large_tokenizer" else {}
        saved(tmp_path / name, "bert", **changes)
    saved(tmp_path / "gpt2", "gpt2")
    saved(tmp_path / "no_start", "t5", decoder_start_token_id=None)
    (tmp_path / "no_config" / "config.json").unlink()
    for file in (tmp_path / "no_tokenizer").glob("tokenizer*"):
        file.unlink()
    config = json.loads((tmp_path / "unknown" / "config.json").read_text())
    (tmp_path / "unknown" / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    tokenizer_for("gpt2").save_pretrained(tmp_path / "no_mask")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    return tmp_path


MISTAKES = [
    ("./nowhere", "run", [], r"no folder './nowhere'; give one that save_pretrained wrote$"),
    ("good", "there", [], r"'there' is there and not empty"),
    ("no_config", "run", [], r"no config.json in 'no_config'"),
    ("unknown", "run", [], r"unknown architecture 'mamba'; choose one of: "),
    ("no_tokenizer", "run", [], r"no tokenizer in 'no_tokenizer'; save the model's own there"),
    ("large_tokenizer", "run", [], r"the tokenizer has 320 ids and the model 290 embeddings"),
    ("no_mask", "run", [], r"objective 'mlm' needs the special tokens mask, which this tokenizer lacks"),
    ("no_start", "run", [], r"names no decoder_start_token_id"),
    ("good", "run", ["objective=causal"], r"objective 'causal' cannot train family 'encoder_ae'"),
    ("good", "run", ["size.layers=3"], r"size.layers=3 is refused: .*; what may be set is objective, "),
    ("good", "run", ["size=small"], r"size=small is refused"),
    ("good", "run", ["budget=hour"], r"budget=hour is refused"),
    ("good", "run", ["system=bert"], r"system=bert is refused"),
    ("good", "run", ["data.tokenizer=t.json"], r"data.tokenizer=t.json is refused"),
    ("good", "run", ["objectve=mlm"], r"unknown key 'objectve'; choose one of: objective"),
    ("good", "run", ["size.length=161"], r"size.length=161 is too long: position 160 was asked"),
    ("gpt2", "run", ["evaluation.infill=true"], r"neither a sentinel .* evaluation.infill=false"),
]


def test_a_mistake_is_one_line_and_leaves_no_run(
    folders: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    for source, run, overrides, message in MISTAKES:
        with pytest.raises(UserError, match=message) as error:
            import_model(source, Path(run), [*settings, *overrides])
        assert "\n" not in str(error.value)
        assert not Path("run").exists()


def test_a_name_is_looked_for_on_the_hub(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, in what was downloaded before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub" / "models--owner--small"
    saved(place / "snapshots" / ("0" * 40), "bert")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    import_model("owner/small", tmp_path / "run", settings)
    came = read_json(tmp_path / "run" / "audit.json")["imported"]
    assert (came["from"], Path(came["folder"]).name) == ("owner/small", "0" * 40)
    with pytest.raises(UserError, match=r"no folder 'owner/large'; .*, or a name on the hub") as error:
        import_model("owner/large", tmp_path / "other", settings)
    assert "\n" not in str(error.value)


def test_a_shape_that_no_recipe_says_is_named() -> None:
    shape = CoreConfig(vocabulary=SIZE, layers=2, width=32, heads=2, ffn=64, max_length=99, decoder_layers=3)
    with pytest.raises(UserError, match=r"has decoder_layers=3, which no recipe's size says") as error:
        recipe_of(DecoderAR(shape), "llama", Path("run"), [])
    assert "\n" not in str(error.value)


def test_a_mistake_of_usage_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    code = "import sys; from experiments import cli\ntry: cli.main()\nfinally: print('torch' in sys.modules)"
    words = [sys.executable, "-c", code, "import", "./nowhere", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr
    assert re.fullmatch(r"error: no folder './nowhere'.*\n", done.stderr)
