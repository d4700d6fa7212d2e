"""Tasks that a trained run answers by likelihoods alone: minimal pairs, cloze, language modelling."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from archs import FAMILIES, CoreConfig
from archs import build as build_family
from archs.errors import UserError
from benchmarks.workload import OBJECTIVE as NATURAL
from experiments.data.store import Corpus
from experiments.evaluation.asking import answered
from experiments.evaluation.modes import Ask
from experiments.evaluation.question import Question
from experiments.evaluation.scoring.scoring import Scored, score_texts
from experiments.evaluation.zero_shot import cloze, language_modelling, minimal_pairs
from experiments.evidence.metrics import METRICS
from experiments.recipe.groups.task import AskConfig, TaskConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from experiments.tasks.kind import Data, Example
from experiments.tasks.kinds import KINDS
from experiments.tasks.kinds import cloze as cloze_task
from experiments.tasks.kinds.minimal_pairs import judged
from experiments.tasks.rows import examples
from objectives import OBJECTIVES
from objectives.replaced_tokens import ReplacedTokens

PAIRS = [
    {"good": "The people are free.", "bad": "The people is free.", "paradigm": "verb", "phenomenon": "a"},
    {"good": "The union is strong.", "bad": "The union are strong.", "paradigm": "verb", "phenomenon": "a"},
    {"good": "These states", "bad": "This states", "paradigm": "noun", "phenomenon": "a"},
    {"good": "No one ever came.", "bad": "No one ever came.", "paradigm": "npi", "phenomenon": "b"},
]


@pytest.fixture
def run_of(compose: Callable[..., Recipe], address_corpus: Corpus, tmp_path: Path) -> Callable[..., Run]:
    """A run whose family of one layer has random weights."""

    def made(name: str, **changes) -> Run:
        torch.manual_seed(0)
        layers = 1 if name == "encoder_decoder" else None
        shape: dict[str, Any] = {"vocabulary": 4096, "layers": 1, "width": 16, "heads": 2, "ffn": 32}
        config = CoreConfig(**{"max_length": 136, "decoder_layers": layers, **shape, **changes})
        family = build_family(name, config).eval()
        asks = OBJECTIVES[NATURAL[name]](address_corpus.vocabulary, family.layout)
        return Run(RunFolder(tmp_path), compose(f"family={name}"), family, asks, address_corpus)

    return made


def rows_of(run: Run, mode: Ask, items: list[Example], pll: str = "word_l2r") -> pd.DataFrame:
    return answer_of(run, mode, items, pll).outcomes[0].rows


def answer_of(run: Run, mode: Ask, items: list[Example], pll: str = "word_l2r"):
    ask = AskConfig.model_validate({"task": {"name": "t", "kind": "cloze", "path": "nowhere"}, "pll": pll})
    return mode(Question(run, ask, Data([], [], items, [], "")))


def test_a_pair_is_right_if_the_good_sentence_has_fewer_nats_and_half_right_if_as_many() -> None:
    texts = [(1.0, "nll"), (2.0, "nll"), (2.0, "nll"), (1.0, "nll"), (3.0, "nll"), (3.0, "nll")]
    rows = judged(PAIRS[:3], texts)
    assert rows.to_dict("list") == {
        "item": [0, 1, 2],
        "paradigm": ["verb", "verb", "noun"],
        "phenomenon": ["a", "a", "a"],
        "nats_good": [1, 2, 3],
        "nats_bad": [2, 1, 3],
        "unit": ["nll"] * 3,
        "correct": [1, 0, 0.5],
    }
    assert METRICS["pair_accuracy"].of(rows) == 50
    assert minimal_pairs.by_group(rows) == {"paradigm": {"noun": 50, "verb": 50}, "phenomenon": {"a": 50}}


def test_the_same_sentence_twice_is_half_right_whatever_the_last_digit_is() -> None:
    rows = judged(PAIRS[3:], [(3.0000001, "nll"), (3.0, "nll")])
    assert rows.correct.tolist() == [0.5]


def test_a_phenomenon_is_the_mean_over_its_paradigms_and_without_them_over_its_items() -> None:
    rows = pd.DataFrame(
        {
            "paradigm": ["x", "x", "x", "y"],
            "phenomenon": ["p", "p", "p", "p"],
            "correct": [1.0, 0.0, 0.0, 1.0],
        }
    )
    assert minimal_pairs.by_group(rows)["phenomenon"]["p"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert minimal_pairs.by_group(rows.drop(columns="paradigm")) == {"phenomenon": {"p": 50}}
    assert minimal_pairs.by_group(pd.DataFrame({"correct": [1.0]})) == {}


@pytest.mark.parametrize("name", FAMILIES)
def test_minimal_pairs_are_judged_by_the_scores_of_both_sentences(name: str, run_of) -> None:
    run = run_of(name)
    units = {"original": "pll", "word_l2r": "pll_word_l2r"} if name == "encoder_ae" else {"word_l2r": "nll"}
    for pll, unit in units.items():
        rows = rows_of(run, minimal_pairs.zero_shot, PAIRS, pll)
        assert rows.unit.tolist() == [unit] * 4
        for role in ("good", "bad"):
            found = score_texts(run, [pair[role] for pair in PAIRS], way(run, pll))
            assert rows[f"nats_{role}"].tolist() == pytest.approx([one.nats for one in found], rel=1e-5)
        right = [
            (1.0 if good < bad else 0.0) for good, bad in zip(rows.nats_good, rows.nats_bad, strict=True)
        ]
        assert rows.correct.tolist() == [*right[:3], 0.5]


def way(run: Run, pll: str) -> Any:
    return pll if run.family.kind == "encoder_ae" else None


def test_the_last_word_is_what_stands_after_the_last_white_space() -> None:
    assert cloze_task.apart("to the people. ") == ("to the", " people.")
    assert cloze_task.apart("one\n\n two") == ("one", "\n\n two")
    assert cloze_task.apart(" a b a") == (" a b", " a")
    with pytest.raises(ValueError, match="its text is one word; a cloze needs words before the last one"):
        cloze_task.apart(" word ")


def test_a_context_loses_its_beginning_where_the_window_is_too_short() -> None:
    assert cloze.fitted([1, 2, 3], [4, 5], 5) == ([1, 2, 3], [4, 5])
    assert cloze.fitted([1, 2, 3], [4, 5], 4) == ([2, 3], [4, 5])
    assert cloze.fitted([1, 2, 3], [4, 5], 2) == ([], [4, 5])
    assert cloze.fitted([1, 2, 3], [4, 5], 1) == ([], [4, 5])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_word_is_right_if_each_of_its_tokens_is_the_likeliest(name: str, run_of, address_corpus) -> None:
    run = run_of(name, head_bias=True)
    (token,) = address_corpus.tokenizer.encode(" people")
    run.family.head.bias.data[token] = 100
    texts = ["We thank the people", "We thank the union", "the people peoplezz"]
    items = [cloze_task.example({"text": text}, None) for text in texts]  # type: ignore[arg-type]
    rows = rows_of(run, cloze.zero_shot, items)
    assert rows.correct.tolist() == [1, 0, 0]
    pairs = [(item["before"], item["word"]) for item in items]
    found = score_texts(run, pairs, way(run, "word_l2r"))
    assert rows.nats.tolist() == pytest.approx([one.nats for one in found], rel=1e-5, abs=1e-6)
    for column in ("tokens", "bytes", "unit"):
        assert rows[column].tolist() == [getattr(one, column) for one in found]
    assert rows.bytes.tolist() == [7, 6, 9]
    assert METRICS["cloze_accuracy"].of(rows) == pytest.approx(100 / 3)
    assert METRICS["word_perplexity"].of(rows) == pytest.approx(math.exp(sum(rows.nats) / 3))


def test_texts_longer_than_the_window_are_cut_and_counted(run_of) -> None:
    run = run_of("decoder_ar")
    length = run.recipe.size.length
    items = [cloze_task.example({"text": f"{word} people " * length + "end"}, None) for word in ("one", "no")]  # type: ignore[arg-type]
    items += [cloze_task.example({"text": "the end"}, None)]  # type: ignore[arg-type]
    answer = answer_of(run, cloze.zero_shot, items)
    assert answer.cut == {"test": 2}
    ids = run.corpus.tokenizer.encode(items[0]["before"])[1 - length :]
    shorter = score_texts(run, [(run.corpus.tokenizer.decode(ids), " end")])[0]
    assert shorter.tokens == 1
    assert answer.outcomes[0].rows.nats[0] == pytest.approx(shorter.nats, rel=1e-5)


def test_each_token_of_a_document_is_asked_once_given_the_half_window_before_it() -> None:
    assert language_modelling.halves([1, 2, 3, 4, 5], 2) == [([], [1, 2]), ([1, 2], [3, 4]), ([3, 4], [5])]
    assert language_modelling.halves([1], 2) == [([], [1])]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_bits_of_a_document_are_those_of_its_half_windows(name: str, run_of) -> None:
    run = run_of(name)
    half, tokenizer = run.recipe.size.length // 2, run.corpus.tokenizer
    texts = ["the people of the union — ü " * half, "is strong"]
    answer = answer_of(run, language_modelling.zero_shot, [{"text": text} for text in texts])
    unit = "pll_word_l2r" if name == "encoder_ae" else "nll"
    assert answer.outcomes[0].variant == {"model": "pretrained", "unit": unit, "part": "test"}
    rows = answer.outcomes[0].rows
    assert rows.tokens.tolist() == [len(tokenizer.encode(text)) for text in texts]
    assert rows.bytes.tolist() == [len(text.encode()) for text in texts]
    (short,) = score_texts(run, texts[1:], way(run, "word_l2r"))
    assert rows.nats[1] == pytest.approx(short.nats, rel=1e-5)
    # Random weights: about as likely as any token.
    assert rows.nats[0] == pytest.approx(rows.tokens[0] * math.log(4096), rel=0.05)
    bits = rows.nats.sum() / math.log(2) / rows.bytes.sum()
    assert METRICS["bits_per_byte"].of(rows) == pytest.approx(bits)


def test_a_document_of_two_half_windows_is_both_given_what_was_before(run_of) -> None:
    run = run_of("decoder_ar")
    half, tokenizer = run.recipe.size.length // 2, run.corpus.tokenizer
    text = "The people of the union are free. " * half
    ids = tokenizer.encode(text)[: 2 * half]
    one, two = tokenizer.decode(ids[:half]), tokenizer.decode(ids[half:])
    assert tokenizer.encode(one) + tokenizer.encode(two) == ids
    rows = rows_of(run, language_modelling.zero_shot, [{"text": one + two}])
    apart: list[Scored] = score_texts(run, [one, (one, two)])
    assert rows.nats[0] == pytest.approx(sum(each.nats for each in apart), rel=1e-5)


def test_a_model_without_language_model_head_is_refused(run_of) -> None:
    run = run_of("encoder_ae")
    run = replace(run, objective=ReplacedTokens(run.corpus.vocabulary, "in_place"))
    with pytest.raises(UserError, match="trained no head that predicts tokens"):
        rows_of(run, minimal_pairs.zero_shot, PAIRS)


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (KINDS["minimal_pairs"], {"good": "a", "bad": " "}, "row 1: its bad is empty"),
        (
            KINDS["minimal_pairs"],
            {"good": "a", "bad": "b", "paradigm": 3},
            "its paradigm is int, must be",
        ),
        (KINDS["cloze"], {"text": "word"}, "row 1: its text is one word"),
        (KINDS["language_modelling"], {"text": None}, "its text is empty; leave such items out"),
        (KINDS["language_modelling"], {"txt": "a"}, "no column 'text' for its text; there are txt"),
    ],
)
def test_an_item_that_cannot_be_asked_is_told_with_its_row(kind, row, message) -> None:
    task = TaskConfig(name="mine", kind=kind.name, path="mine.jsonl")
    with pytest.raises(UserError, match=message) as error:
        examples(task, kind, "test", [row])
    assert "\n" not in str(error.value)


def test_a_file_of_pairs_becomes_a_summary_with_its_paradigms(run_of, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(pair) for pair in PAIRS * 5))
    task = {"name": "pairs", "kind": "minimal_pairs", "path": str(file)}
    place, _ = answered(run_of("decoder_ar"), AskConfig.model_validate({"task": task, "items": 8}))
    told = json.loads(place.read_text())
    assert told["mode"] == "zero_shot"
    outcome, chance = told["outcomes"]
    assert chance["baseline"]
    assert chance["metrics"]["pair_accuracy"]["value"] == 50
    assert outcome["variant"] == {"model": "pretrained", "unit": "nll", "part": "test"}
    rows = pd.read_parquet(place.with_suffix(".parquet")).query("model == 'pretrained'")
    assert rows.paradigm.value_counts().to_dict() == {"verb": 4, "noun": 2, "npi": 2}
    accuracy = outcome["metrics"]["pair_accuracy"]
    assert accuracy["how"] == "Student's t over paradigms"
    assert accuracy["value"] == pytest.approx(100 * rows.groupby("paradigm").correct.mean().mean())
    assert told["by_group"]["paradigm"]["npi"] == 50
    assert told["subset"]["how"] == "bootstrap over items within paradigms"
    assert told["subset"]["value"] == pytest.approx(accuracy["value"])
