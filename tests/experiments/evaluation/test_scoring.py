"""Scores of texts: what they are made of, what is refused, and the command."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scored_runs import TEXT, WORDS, folder, four_steps
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from archs import CoreConfig, Family, build
from archs.errors import UserError
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.data.tokenizer.training import train as train_tokenizer
from experiments.data.tokenizer.vocabulary import vocabulary
from experiments.evaluation.scoring import batching
from experiments.evaluation.scoring.scoring import ORDER, Scored, score_texts, scores
from experiments.evaluation.scoring.texts import read_texts
from experiments.runs.hugging_face.exported import export_run
from experiments.runs.run import restore
from objectives import OBJECTIVES
from objectives.base import Objective
from objectives.conditional import Conditional

ROOT = Path(__file__).parents[3]
TEXTS = [
    "the state of our union",
    (" our union", " is strong"),
    "x",
    ("", "中文 😀\u2028<s> <mask>"),
    ("the state", " of our union is growing fast"),
    (" our union", " is strong"),
]
ALL = {**OBJECTIVES, "conditional": Conditional}
PAIRS = [(name, family) for name, kind in ALL.items() if kind.language_model for family in kind.families]

Asked = tuple[Family, Objective, Tokenizer]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], 350)


@pytest.fixture(scope="module")
def asked(tokenizer: Tokenizer) -> Callable[..., Asked]:
    """A family of one layer with random weights, an objective for it, and the tokenizer."""

    def make(name: str, kind: str, **changes) -> Asked:
        torch.manual_seed(0)
        shape: dict[str, Any] = {
            "vocabulary": tokenizer.size,
            "width": 16,
            "heads": 2,
            "ffn": 32,
            "layers": 1,
        }
        shape["decoder_layers"] = 1 if kind == "encoder_decoder" else None
        family = build(kind, CoreConfig(**{"max_length": 64, **shape, **changes})).eval()
        return family, ALL[name](vocabulary(tokenizer), family.layout), tokenizer

    return make


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_score_is_the_sum_over_the_text_s_own_tokens_with_its_unit(name, kind, asked) -> None:
    family, _, tokenizer = model = asked(name, kind)
    for given, each in zip(TEXTS, score_texts(model, TEXTS), strict=True):
        context, text = ("", given) if isinstance(given, str) else given
        assert (each.context, each.text) == (context, text)
        assert each.unit == ("pll" if kind == "encoder_ae" else "nll")
        assert each.order == ORDER[each.unit]
        ids = tokenizer.encode(text)
        assert [piece for piece, _ in each.pieces] == [tokenizer.pieces[token] for token in ids]
        assert each.tokens == len(ids)
        assert all(nats > 0 for _, nats in each.pieces)  # no token is left out, the first neither
        assert each.nats == pytest.approx(sum(nats for _, nats in each.pieces))
        assert each.bytes == len(text.encode())
        assert each.bits_per_byte == pytest.approx(each.nats / math.log(2) / each.bytes)
        # Random weights: about as likely as any token.
        assert each.nats == pytest.approx(each.tokens * math.log(family.config.vocabulary), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "pll"), [*((*pair, None) for pair in PAIRS), ("mlm", "encoder_ae", "word_l2r")]
)
def test_a_score_in_a_batch_is_the_score_of_the_text_alone(name, kind, pll, asked) -> None:
    model = asked(name, kind)
    texts = [*TEXTS, *((" " + one, " " + two) for one in WORDS[:3] for two in WORDS[:4]), *WORDS, "the zebra"]
    together = score_texts(model, texts, pll)
    assert_same(together, [score_texts(model, [text], pll)[0] for text in texts])
    assert_same(together[::-1], score_texts(model, texts[::-1], pll))


def assert_same(some: list[Scored], others: list[Scored]) -> None:
    """The same texts in the same order, and the same nats but for how they were summed."""
    for one, other in zip(some, others, strict=True):
        same = replace(one, nats=other.nats, pieces=other.pieces)
        assert same == other
        assert one.nats == pytest.approx(other.nats, rel=1e-5)
        assert [piece for piece, _ in one.pieces] == [piece for piece, _ in other.pieces]
        assert [nats for _, nats in one.pieces] == pytest.approx([nats for _, nats in other.pieces], rel=1e-5)


def test_the_first_score_comes_before_the_last_text_is_asked(asked, monkeypatch: pytest.MonkeyPatch) -> None:
    family, objective, tokenizer = asked("causal", "decoder_ar")
    passes: list[tuple[int, int]] = []
    family.embedding.register_forward_pre_hook(lambda _, given: passes.append(tuple(given[0].shape)))
    monkeypatch.setattr(batching.chunks, "__defaults__", (8,))
    found = scores((family, objective, tokenizer), ["xxx", "xx", "yyy", "zzz", "zz"])
    assert passes == []
    assert next(found).text == "xxx"
    assert passes == [(2, 3), (1, 2)]
    assert [each.text for each in found] == ["xx", "yyy", "zzz", "zz"]
    assert passes == [(2, 3), (1, 2), (1, 3), (1, 2)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("causal", "decoder_ar"),
        ("prefix", "prefix_lm"),
        ("permutation", "permuted_lm"),
        ("span", "encoder_decoder"),
        ("mlm", "encoder_ae"),
    ],
)
def test_a_text_is_greedy_if_each_of_its_tokens_is_the_likeliest(name, kind, asked, tokenizer) -> None:
    family, *others = asked(name, kind, head_bias=True)
    (token,) = tokenizer.encode(" our")
    family.head.bias.data[token] = 100
    texts = [" our", (" the", " our our"), " our the", " the our", " the"]
    found = score_texts((family, *others), texts)
    assert [each.greedy for each in found] == [True, True, False, False, False]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_context_is_read(name, kind, asked) -> None:
    one, other = score_texts(asked(name, kind), [("the", " people"), ("our", " people")])
    assert one.tokens == other.tokens
    assert one.nats != other.nats


def test_a_word_of_several_tokens_is_scored_without_its_later_ones_by_word_l2r(asked, tokenizer) -> None:
    model = asked("mlm", "encoder_ae")
    texts = ["the zebra is"]
    (original,), (again,), (word,) = (
        score_texts(model, texts, pll) for pll in (None, "original", "word_l2r")
    )
    assert original == again
    assert (original.unit, word.unit) == ("pll", "pll_word_l2r")
    assert word.order == ORDER["pll_word_l2r"]
    starts = [bool(tokenizer.word_starts[token]) for token in tokenizer.encode(texts[0])]
    assert sum(starts) in (2, 3)
    ends_a_word = [*starts[1:], True]
    assert not all(ends_a_word)
    same = [one == two for one, two in zip(original.pieces, word.pieces, strict=True)]
    assert same == ends_a_word


MISTAKES = [
    (["the", ""], "text 2 is empty: nothing to score"),
    (["the", ("the", "")], "text 2 is empty: nothing to score"),
    ([("\ud800", "the")], "text 1 is not Unicode"),
    (["the", " the" * 70], "text 2: position 69 was asked of a family with 64 learned positions"),
    ([(" the" * 40, " the" * 40)], "text 1: position 79 was asked"),
]


@pytest.mark.parametrize(("texts", "message"), MISTAKES)
def test_a_text_without_score_is_refused_by_its_number(texts, message, asked) -> None:
    with pytest.raises(UserError, match=message) as error:
        score_texts(asked("causal", "decoder_ar", positions="learned"), texts)
    assert "\n" not in str(error.value)


def test_a_source_that_is_too_long_is_refused(asked) -> None:
    model = asked("prefix", "encoder_decoder", positions="learned")
    score_texts(model, [(" the" * 64, " the" * 64)])
    with pytest.raises(UserError, match="text 2: position 64 was asked"):
        score_texts(model, ["the", (" the" * 65, "the")])


def test_rope_scores_texts_of_any_length(asked) -> None:
    assert score_texts(asked("causal", "decoder_ar"), [" the" * 70])[0].tokens == 70


def test_characters_unknown_to_the_tokenizer_have_no_score(asked) -> None:
    backend = Backend(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "the": 4}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    words = Tokenizer(backend, {"pad": 3, "bos": 1, "eos": 2, "mask": None, "cls": 1, "sep": 2})
    family, objective, _ = asked("causal", "decoder_ar")
    assert score_texts((family, objective, words), [("zebra", "the the")])[0].tokens == 2
    with pytest.raises(UserError, match="text 2 holds characters that the tokenizer does not know"):
        score_texts((family, objective, words), ["the", "the zebra"])


def test_what_does_not_belong_together_is_refused(asked) -> None:
    family, objective, tokenizer = asked("causal", "decoder_ar")
    with pytest.raises(UserError, match="the scores of decoder_ar are of unit 'nll': leave it out"):
        score_texts((family, objective, tokenizer), ["the"], "word_l2r")
    with pytest.raises(UserError, match="objective 'mlm' was made for the layout 'in_place'"):
        score_texts((family, asked("mlm", "encoder_ae")[1], tokenizer), ["the"])
    small = asked("causal", "decoder_ar", vocabulary=300)[0]
    with pytest.raises(UserError, match="has 350 ids and the family 300"):
        score_texts((small, objective, tokenizer), ["the"])
    family.train()
    with pytest.raises(UserError, match=r"call family\.eval"):
        score_texts((family, objective, tokenizer), ["the"])


def test_a_tokenizer_of_hugging_face_is_refused_with_the_way_to_wrap_it(asked) -> None:
    family, objective, tokenizer = asked("causal", "decoder_ar")
    theirs: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend)
    with pytest.raises(UserError, match=r"is no tokenizer of experiments.data.tokenizer; .*load") as error:
        score_texts((family, objective, theirs), ["the"])
    assert "\n" not in str(error.value)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return written


def test_a_file_has_one_text_a_line(file) -> None:
    assert read_texts(file("a.txt", "\ufeffone \r\n two\n\u2028\n")) == [
        ("", "one "),
        ("", " two"),
        ("", "\u2028"),
    ]
    assert read_texts(file("a.txt", "one\ntwo")) == [("", "one"), ("", "two")]
    lines = ['{"text": " b\\n", "context": "a"}', '{"text": "c"}', '{"context": "", "text": "ü"}']
    assert read_texts(file("a.jsonl", "\n".join(lines))) == [("a", " b\n"), ("", "c"), ("", "ü")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "one\n", "is neither .jsonl nor .txt"),
        ("a.txt", "", "is empty"),
        ("a.txt", "one\n\ntwo\n", "line 2 is empty: nothing to score"),
        ("a.txt", "\n", "line 1 is empty"),
        ("a.txt", "o\0e", "is binary"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "a"}', "line 2 is not JSON"),
        ("a.jsonl", "[" * 10**5, "line 1 is nested too deeply"),
        ("a.jsonl", '["a"]', 'line 1 has no "text"'),
        ("a.jsonl", '{"context": "a"}', 'line 1 has no "text"'),
        ("a.jsonl", '{"text": "a", "contxt": "b"}', "line 1: 'contxt'; choose one of: context"),
        ("a.jsonl", '{"text": 3}', "line 1 has 3 as text; write it as a string"),
        ("a.jsonl", '{"text": "a", "context": null}', "line 1 has None as context"),
        ("a.jsonl", '{"text": ""}', "line 1 has an empty text"),
    ],
)
def test_a_line_without_text_is_refused_by_its_number(name, content, message, file) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_texts(file(name, content))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of four steps in a sweep's folders."""
    return four_steps(tmp_path_factory.mktemp("scoring"), ("decoder_ar", "encoder_ae"))


@pytest.fixture
def score(runs: Path, pentarch: Callable[..., tuple[int, str, str]]):
    """`pentarch score` on a run: its exit code, the objects it prints, and what it says on stderr."""

    def command(family: str, *options: str) -> tuple[int, list[dict], str]:
        code, out, err = pentarch("score", str(folder(runs, family)), *options)
        return code, [json.loads(line) for line in out.splitlines()], err

    return command


def expected(each: Scored) -> dict:
    names = ("context", "text", "nats", "unit", "order", "tokens", "bytes", "bits_per_byte")
    return {name: getattr(each, name) for name in names}


@pytest.mark.slow
def test_the_command_prints_what_python_gives_one_json_object_a_text(score, runs: Path, file) -> None:
    run = restore(runs / "runs" / "five_families" / "decoder_ar" / "seed0")
    pair, alone = score_texts(run, [("the state", " of our"), "is ü"])
    options = ("--context", "the state", "--text", " of our")
    assert score("decoder_ar", *options) == (0, [expected(pair)], "")
    with_pieces = expected(pair) | {"pieces": [list(piece) for piece in pair.pieces]}
    assert score("decoder_ar", *options, "--tokens") == (0, [with_pieces], "")
    lines = '{"text": " of our", "context": "the state"}\n{"text": "is ü"}\n'
    both = (0, [expected(pair), expected(alone)], "")
    assert score("decoder_ar", "--file", str(file("pairs.jsonl", lines))) == both
    assert score("decoder_ar", "--file", str(file("t.txt", "is ü\n"))) == (0, [expected(alone)], "")


def test_the_command_chooses_how_an_encoder_ae_is_asked(score) -> None:
    units = {}
    for pll in ("original", "word_l2r"):
        _, (line,), _ = score("encoder_ae", "--text", " zebra", "--pll", pll)
        units[line["unit"]] = line["nats"]
    assert set(units) == {"pll", "pll_word_l2r"}
    assert len(set(units.values())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "the", "--pll", "word_l2r"), "pll=word_l2r is a way to ask an encoder_ae"),
        (("--text", ""), "text 1 is empty"),
        ((), "give either --text TEXT or --file FILE"),
        (("--text", "the", "--file", __file__), "give either --text TEXT or --file FILE"),
        (("--context", "the", "--file", __file__), "--context goes with --text"),
        (("--text", "the", "--pll", "word"), "'original', 'word_l2r'"),
        (("--file", __file__), "is neither .jsonl nor .txt"),
        (("--file", "nowhere.txt"), "nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line_and_prints_no_score(options, message, score) -> None:
    code, lines, told = score("decoder_ar", *options)
    assert (code, lines) == (2, [])
    assert re.fullmatch(r"error: .*\n", told)
    assert message in told


def test_a_mistake_of_usage_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    code = "import sys; from experiments import cli\ntry: cli.main()\nfinally: print('torch' in sys.modules)"
    (tmp_path / "bad.jsonl").write_text("{}")
    for options in ([], ["--file", f"{tmp_path}/bad.jsonl"], ["--text", "the"]):
        words = [sys.executable, "-c", code, "score", str(tmp_path), *options]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr


@pytest.mark.slow
def test_who_stops_reading_gets_no_traceback(runs: Path) -> None:
    (runs / "many.txt").write_text("the state\n" * 600)  # more than a pipe holds
    run = folder(runs, "decoder_ar")
    command = f"{sys.executable} -m experiments score {run} --file {runs}/many.txt | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_the_snippet_of_the_docs_runs(runs: Path, monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(runs)
    exec(compile(snippet, "docs/scoring.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[+-]\d+\.\d\d nats \(nll\) in favour of the right one", told[0])
    assert len(told) > 3


def test_an_imported_model_is_scored_as_the_docs_say_and_as_the_run_it_came_from(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder(runs, "decoder_ar")
    export_run(run, runs / "exported" / "decoder_ar")
    page = (ROOT / "docs" / "huggingface.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(# score_imported\.py\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(runs)
    capsys.readouterr()
    exec(compile(snippet, "docs/huggingface.md", "exec"), {})
    told = capsys.readouterr().out.splitlines()
    expected = score_texts(restore(run), ["My fellow citizens", ("My fellow", " citizens")])
    assert [line.split()[0] for line in told] == [f"{each.nats:.2f}" for each in expected]
