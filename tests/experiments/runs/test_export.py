"""`pentarch export`: a trained run opens in transformers, without pentarch, and answers as it does here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tokenizers import AddedToken, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from archs import FAMILIES
from archs.decoding.decoding import Decoding
from archs.decoding.generate import prompts
from archs.errors import UserError
from archs.hf import from_hf
from archs.hf.folder import open_folder
from experiments.data.tokenizer.special import NAMES
from experiments.data.tokenizer.tokenizer import Tokenizer, load
from experiments.data.tokenizer.training import train
from experiments.data.tokenizer.vocabulary import vocabulary
from experiments.recipe.compose import compose_recipe
from experiments.runs.hugging_face.exported import export_run, wrapped
from experiments.runs.run import Run, restore
from experiments.training.train import train as train_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WORDS = ("the", "state", "of", "our", "union", "is", "strong", "and", "growing", "fast", "My", "fellow")
TEXT = "\n\n".join(" ".join(WORDS[(i * n) % len(WORDS)] for i in range(80)) for n in range(1, 200))
TEXTS = [
    "the state of our union",
    "My",
    " leading <s> and </s>\n\n<extra_id_3>",
    "中文 ünï 😀\u2028 . x ",
    "<mask>",
]

Pentarch = Callable[..., tuple[int, str, str]]
NAMED = [*FAMILIES, "llama"]

# What a stranger runs: no pentarch to import. Tokens, texts and what is written, by family.
STRANGER = """
import json, runpy, sys
from pathlib import Path
import torch, transformers
from transformers import AutoTokenizer

sys.path[:] = [place for place in sys.path if not (Path(place) / "archs").exists()]
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("archs", "objectives", "experiments"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Forbidden())
torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
texts, snippets, found = json.loads(sys.argv[1]), json.loads(sys.argv[2]), {}
for folder in sorted(Path("exported").iterdir()):
    told = json.loads((folder / "auto.json").read_text())
    auto = getattr(transformers, told["auto"])
    model = auto.from_pretrained(folder, trust_remote_code=told["trust"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=told["trust"])
    given = tokenizer(texts[:2], padding=True, return_tensors="pt")
    found[folder.name] = answer = {
        "ids": tokenizer(texts).input_ids,
        "texts": [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokenizer(texts).input_ids],
        "logits": None, "written": None,
    }
    whole = {"input_ids": given.input_ids[:1]}
    if model.config.is_encoder_decoder:
        whole["decoder_input_ids"] = given.input_ids[:1]
    with torch.no_grad():
        answer["logits"] = model(**whole).logits.tolist()
    if folder.name != "encoder_ae":
        if folder.name in ("decoder_ar", "prefix_lm", "llama"):
            given = tokenizer(["<s>" + text for text in texts[:2]], padding=True, return_tensors="pt",
                              split_special_tokens=False)
        out = model.generate(**given, max_new_tokens=8, num_beams=3, do_sample=False)
        answer["written"] = out.tolist()
for snippet in snippets:
    runpy.run_path(snippet)
Path("answers.json").write_text(json.dumps(found))
"""


def blocks() -> dict[str, str]:
    """The scripts of docs/huggingface.md by name."""
    page = (ROOT / "docs" / "huggingface.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return {name: block for block, name in found}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of each family, and of a Llama; each exported and opened. Parallel workers share it."""
    folder = tmp_path_factory.getbasetemp()
    place = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "exports"
    with FileLock(f"{place}.lock"):
        if not (place / "answers.json").exists():
            place.mkdir()
            train_all(place)
            export_all(place)
            ask_a_stranger(place)
    return place


def train_all(place: Path) -> None:
    (place / "text.txt").write_text(TEXT)
    for name in NAMED:
        changes = ["family=decoder_ar", "size.activation=swiglu"] if name == "llama" else [f"family={name}"]
        folder = place / "runs" / "five_families" / name / "seed0"
        train_run(compose_recipe([*changes, *small(place)]), folder)


def small(place: Path) -> list[str]:
    settings = ["size=tiny", "budget=smoke", "budget.amount=4", "tracking=none", "training.threads=1"]
    settings += [f"data.path={place}/text.txt", f"data.cache={place}/cache", "training.accelerator=cpu"]
    return [*settings, "size.vocabulary=350"]


def export_all(place: Path) -> None:
    """Beside each folder's files, what was printed and which class to open it with."""
    for name in NAMED:
        said = export_run(place / "runs" / "five_families" / name / "seed0", place / "exported" / name)
        auto = re.search(r"import (\w+), AutoTokenizer", said)
        assert auto is not None
        told = {"said": said, "auto": auto[1], "trust": "trust_remote_code=True" in said}
        (place / "exported" / name / "auto.json").write_text(json.dumps(told))


def ask_a_stranger(place: Path) -> None:
    """Leaves answers.json: what a process without pentarch says of all folders, the docs' scripts run."""
    snippets = [name for name, block in blocks().items() if "archs" not in block]
    assert len(snippets) == 5
    for name, block in blocks().items():
        (place / name).write_text(block, encoding="utf-8")
    environment = {**os.environ, "HF_MODULES_CACHE": str(place / "modules"), "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-I", "-c", STRANGER, json.dumps(TEXTS), json.dumps(snippets)]
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (done.stderr, "custom code" in done.stdout) == ("", False)  # nobody is asked or warned
    assert len(done.stdout.splitlines()) >= len(snippets)


def trained(place: Path, name: str) -> Run:
    return restore(place / "runs" / "five_families" / name / "seed0")


@pytest.fixture
def answers(place: Path) -> dict[str, Any]:
    return json.loads((place / "answers.json").read_text())


@pytest.fixture
def exported(place: Path) -> dict[str, str]:
    """What the export of each run printed."""
    told = {name: json.loads((place / "exported" / name / "auto.json").read_text()) for name in NAMED}
    return {name: each["said"] for name, each in told.items()}


@pytest.mark.parametrize("name", NAMED)
def test_the_tokenizer_reads_and_writes_as_ours(name: str, place: Path, answers: dict[str, Any]) -> None:
    ours = trained(place, name).corpus.tokenizer
    assert answers[name]["ids"] == [ours.encode(text) for text in TEXTS]
    assert answers[name]["texts"] == [ours.decode(ours.encode(text)) for text in TEXTS] == TEXTS


@pytest.mark.parametrize("name", NAMED)
def test_the_folder_holds_the_trained_family_and_answers_as_it_does(
    name: str, place: Path, answers: dict[str, Any]
) -> None:
    run = trained(place, name)
    back = from_hf(place / "exported" / name)
    assert all(torch.equal(*pair) for pair in zip(back.parameters(), run.family.parameters(), strict=True))
    tokens = torch.tensor([run.corpus.tokenizer.encode(TEXTS[0])])
    asked = {"decoder_input_ids": tokens} if name == "encoder_decoder" else {}
    with torch.no_grad():
        here = open_folder(place / "exported" / name)(input_ids=tokens, **asked).logits
    assert answers[name]["logits"] == here.tolist()


@pytest.mark.parametrize("name", ["decoder_ar", "prefix_lm", "llama"])
def test_transformers_writes_what_the_family_writes(name: str, place: Path, answers: dict[str, Any]) -> None:
    run = trained(place, name)
    ids = [[run.corpus.vocabulary.bos, *run.corpus.tokenizer.encode(text)] for text in TEXTS[:2]]
    how = Decoding(beams=3, stop=(run.corpus.vocabulary.eos,))
    expected = run.family.generate(prompts(ids), 8, how)
    for row, given, written in zip(expected, ids, answers[name]["written"], strict=True):
        longest = max(map(len, ids))
        assert written[longest - len(given) : longest] == given
        assert [token for token in written[longest:] if token] == [
            token for token in row.tolist() if token > 0
        ]


@pytest.mark.parametrize("name", ["decoder_ar", "prefix_lm", "permuted_lm", "encoder_decoder"])
def test_what_the_docs_say_of_prompts_is_what_the_objective_asks(
    name: str, place: Path, answers: dict[str, Any]
) -> None:
    run, new = trained(place, name), 8
    text = torch.tensor([run.corpus.tokenizer.encode(TEXTS[0])])
    how = Decoding(beams=3, stop=(run.corpus.vocabulary.eos,))
    if name == "encoder_decoder":  # span asks for a sentinel; the plain source is what `prefix` asks for
        batch = prompts([[run.corpus.vocabulary.bos]], text.tolist())
    else:
        batch = run.objective.prompt(text, new)
    expected = [token for token in run.family.generate(batch, new, how)[0].tolist() if token > 0]
    written = [token for token in answers[name]["written"][0] if token]
    assert written[-len(expected) :] == expected


def test_each_folder_is_opened_by_what_was_printed(exported: dict[str, str]) -> None:
    opened = {name: told.split(" ")[0] for name, told in exported.items()}
    assert opened == {
        "encoder_ae": "PentarchForMaskedLM",
        "decoder_ar": "PentarchForCausalLM",
        "prefix_lm": "PentarchForCausalLM",
        "permuted_lm": "PentarchForCausalLM",
        "encoder_decoder": "PentarchForSeq2SeqLM",
        "llama": "LlamaForCausalLM",
    }
    assert [told.count("trust_remote_code=True") for told in exported.values()] == [
        0 if name == "llama" else 2 for name in exported
    ]


def test_a_script_of_the_docs_goes_on_from_hugging_face(tmp_path: Path) -> None:
    (tmp_path / "go_on.py").write_text(blocks()["go_on.py"], encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "go_on.py"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "GPT2LMHeadModel"
    assert done.stderr == ""


def test_the_command_prints_the_class_and_the_lines_that_open_it(
    place: Path, tmp_path: Path, pentarch: Pentarch
) -> None:
    run, folder = place / "runs" / "five_families" / "llama" / "seed0", tmp_path / "a folder" / "out"
    code, said, told = pentarch("export", str(run), str(folder))
    assert (code, told) == (0, "")
    first, *python = said.splitlines()
    assert first.startswith("LlamaForCausalLM in ")
    found: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in python), found)
    assert type(found["model"]).__name__ == "LlamaForCausalLM"
    assert len(found["tokenizer"]) == found["model"].config.vocab_size
    code, said, told = pentarch("export", str(run), str(tmp_path / "own"), "--as", "pentarch")
    assert said.startswith("PentarchForCausalLM in ")
    assert "trust_remote_code=True" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("full",), "is there and not empty"),
        (("file",), "is there and not empty"),
        (("file/below",), "cannot be written"),
        (
            ("new", "--as", "gpt2"),
            "unknown model_type for this decoder_ar 'gpt2'; choose one of: pentarch, llama",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    options: tuple[str, ...], message: str, place: Path, tmp_path: Path, pentarch: Pentarch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    run = place / "runs" / "five_families" / "llama" / "seed0"
    code, said, told = pentarch("export", str(run), str(tmp_path / options[0]), *options[1:])
    assert (code, said) == (2, "")
    assert re.fullmatch(r"error: .*\n", told)
    assert message in told
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine"]


def test_an_untrained_run_is_not_exported(tmp_path: Path, pentarch: Pentarch) -> None:
    code, _, told = pentarch("export", str(tmp_path), str(tmp_path / "out"))
    assert code == 2
    assert "holds no trained run" in told


def test_a_mask_of_one_s_own_is_refused(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "export_mine.py").write_text(
        "from archs.families.decoder_ar import mask\n\n\ndef mine(batch):\n    return mask(batch)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    recipe = compose_recipe(["family=decoder_ar", "family.mask=export_mine.mine", *small(place)])
    train_run(recipe, tmp_path / "run")
    with pytest.raises(UserError, match="a mask of your own is not exported"):
        export_run(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def bert_like(folder: Path) -> Tokenizer:
    """A Hugging Face tokenizer that puts cls and sep around every text unless told not to."""
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    backend = Backend(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken(word, special=True) for word in words[:5]])
    around = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.post_processor = around
    named = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "cls", "sep", "mask", "unk")}
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)
    return load(folder)


def test_a_tokenizer_of_another_make_adds_nothing_either_and_keeps_its_roles(tmp_path: Path) -> None:
    ours, family = bert_like(tmp_path / "theirs"), FAMILIES["encoder_ae"]
    wrapped(ours, vocabulary(ours), family).save_pretrained(tmp_path / "out")
    opened = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("the state of [MASK] union", "unheard words"):
        assert opened(text).input_ids == ours.encode(text)
        assert opened.decode(opened(text).input_ids, skip_special_tokens=True) == ours.decode(
            ours.encode(text)
        )
    roles = {role: getattr(opened, f"{role}_token_id") for role in NAMES}
    assert roles == {
        "pad": 0,
        "bos": 2,
        "eos": 3,
        "mask": 4,
        "cls": 2,
        "sep": 3,
    }  # cls and sep stand for both


def test_prompts_are_padded_on_the_left_where_a_family_goes_on_from_their_end(tmp_path: Path) -> None:
    ours = train([TEXT], 350)
    sides = {kind: wrapped(ours, vocabulary(ours), FAMILIES[kind]).padding_side for kind in FAMILIES}
    assert sides == {
        "encoder_ae": "right",
        "decoder_ar": "left",
        "encoder_decoder": "right",
        "prefix_lm": "left",
        "permuted_lm": "left",
    }
