"""Generation: what every family reads, is asked and writes, and what its numbers are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from archs import FAMILIES, CoreConfig, Family
from archs import build as build_family
from archs.batch import Batch
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from experiments.data.store import Corpus
from experiments.evaluation.asking import answered
from experiments.evaluation.finetuned import generation
from experiments.evaluation.finetuned.generation import prepared, writers
from experiments.evaluation.finetuned.grid import Progress, Tuned, answer, finetuned
from experiments.evaluation.finetuned.source_target import Pairs, encoded, longest_target, portions
from experiments.evaluation.finetuned.variants import as_prefix
from experiments.evaluation.finetuned.writing import decoding, nats, taught, write
from experiments.evaluation.modes import MODES
from experiments.evaluation.question import Question
from experiments.evaluation.scoring.scoring import score_texts
from experiments.evaluation.zero_shot import generation as prompted
from experiments.evidence.metrics import METRICS
from experiments.recipe.build import build
from experiments.recipe.groups.task import AskConfig, TaskConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from experiments.storage.json_files import read_record
from experiments.tasks.kind import Data, Example
from experiments.tasks.kinds.generation import GENERATION
from experiments.tasks.rows import examples
from experiments.training.learner import Learner
from objectives.base import Layout
from objectives.conditional import Conditional
from objectives.examples import EOS, MASK, VOCABULARY

Compose = Callable[..., Recipe]
Make = Callable[..., Run]
OWN = ("encoder_ae", "decoder_ar", "permuted_lm")  # families whose own way is not the shared one
WORDS = {"land": "day", "the": "and", "of": "to", "in": "on"}  # one token each
DICTIONARY = [{"source": one, "references": [other]} for one, other in WORDS.items()]
SOURCES, TARGETS = [[50, 51], [52]], [[40, 41, EOS], [42, EOS]]


def tiny(name: str, vocabulary: int = 100) -> Family:
    torch.manual_seed(0)
    layers = 1 if name == "encoder_decoder" else None
    return build_family(name, CoreConfig(vocabulary, 2, 32, 2, 64, 64, decoder_layers=layers)).eval()


@pytest.fixture
def make(compose: Compose, address_corpus: Corpus, tmp_path: Path) -> Make:
    """An untrained run of a family, as its recipe builds it."""

    def made(name: str, *overrides: str) -> Run:
        recipe, family = compose(f"family={name}", *overrides), tiny(name, address_corpus.vocabulary.size)
        asks = build(recipe).objective(address_corpus.vocabulary)
        return Run(RunFolder(tmp_path / "run"), recipe, family, asks, address_corpus)

    return made


def question(run: Run, items: list[Example], metrics: Sequence[str] = (), **finetune: object) -> Question:
    task = TaskConfig(name="dictionary", kind="generation", path="none", metrics=list(metrics))
    grid = {"learning_rates": [1e-2], "seeds": 1, "batch": 4, "scratch": False} | finetune
    ask = AskConfig.model_validate({"task": task, "finetune": grid})
    return Question(run, ask, Data(items, items, items, [], "none"))


def shown(batch: Batch, *names: str) -> dict[str, list[list[int]]]:
    return {name: getattr(batch, name).int().tolist() for name in names}


def test_every_target_is_asked_with_its_end_and_nothing_else() -> None:
    def rows(layout: Layout, *names: str) -> dict[str, list[list[int]]]:
        return shown(taught(Conditional(VOCABULARY, layout), SOURCES, TARGETS), *names)

    names = ("tokens", "targets", "weights", "is_prefix", "positions")
    assert rows("concatenated", *names) == {
        "tokens": [[50, 51, 1, 40, 41], [52, 0, 1, 42, 0]],
        "targets": [[50, 51, 40, 41, 2], [52, 0, 42, 2, 0]],
        "weights": [[0, 0, 1, 1, 1], [0, 0, 1, 1, 0]],
        "is_prefix": [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]],
        "positions": [[0, 1, 2, 3, 4], [0, 0, 1, 2, 1]],
    }
    assert rows("source_target", "source", "tokens", "targets", "weights") == {
        "source": [[50, 51], [52, 0]],
        "tokens": [[1, 40, 41], [1, 42, 0]],
        "targets": [[40, 41, 2], [42, 2, 0]],
        "weights": [[1, 1, 1], [1, 1, 0]],
    }
    assert rows("permuted", "tokens", "targets", "weights", "rank", "queries") == {
        "tokens": [[50, 51, 40, 41, 2], [52, 0, 42, 2, 0]],
        "targets": [[50, 51, 40, 41, 2], [52, 0, 42, 2, 0]],
        "weights": [[0, 0, 1, 1, 1], [0, 0, 1, 1, 0]],
        "rank": [[0, 0, 1, 2, 3], [0, 0, 1, 2, 0]],
        "queries": [[2, 3, 4], [2, 3, -1]],
    }


def test_in_place_some_of_the_target_is_hidden_and_what_is_hidden_is_asked() -> None:
    asks = Conditional(VOCABULARY, "in_place")
    for seed in range(20):
        batch = taught(asks, SOURCES, TARGETS, seed)
        assert batch.targets.tolist() == [[50, 51, 40, 41, 2], [52, 0, 42, 2, 0]]
        hidden = batch.weights > 0
        assert torch.equal(batch.tokens, batch.targets.masked_fill(hidden, MASK))
        assert not hidden[:, :2].any()
        assert not hidden[1, 4]
        assert hidden.any(dim=1).all()


def test_an_encoder_ae_in_its_own_way_learns_that_nothing_follows_the_end(make: Make) -> None:
    run = make("encoder_ae")
    items = [{"source": "land", "references": ["the land of the day"]}, *DICTIONARY]
    tuned = prepared(question(run, items), run, items, longest := 7)
    batch = tuned.batch(tuned.objective("own"), np.array([1]), 0)
    eos, ids = run.corpus.vocabulary.eos, run.corpus.tokenizer.encode("day")
    assert len(ids) == 1
    assert batch.targets.tolist() == [[*run.corpus.tokenizer.encode("land"), *ids, *[eos] * (longest - 1)]]
    assert tuned.validation is not None


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("way", ["shared", "own"])
def test_texts_are_written_in_a_batch_as_if_alone_and_without_special_tokens(name: str, way: str) -> None:
    family = tiny(name) if way == "own" else as_prefix(tiny(name))
    asks = Conditional(VOCABULARY, family.layout)
    sources = [[50, 51, 52, 53, 54], [60], [70, 71, 72]]
    together = write(family, asks, sources, 6, beams=3)
    assert together == [write(family, asks, [source], 6, beams=3)[0] for source in sources]
    assert all(len(row) <= 6 for row in together)
    assert not VOCABULARY.special[torch.tensor([token for row in together for token in row])].any()


def test_what_is_written_stops_at_the_end_of_text() -> None:
    """The head likes eos best whatever it reads: every family writes nothing."""
    for name in FAMILIES:
        for family in (tiny(name), as_prefix(tiny(name))):
            asks = Conditional(VOCABULARY, family.layout)
            wants_the_end = torch.nn.functional.one_hot(torch.tensor(EOS), 100).float()
            family.logits = lambda hidden: wants_the_end.expand(*hidden.shape[:-1], 100)  # type: ignore[method-assign] # noqa: B023
            assert write(family, asks, SOURCES, 5, beams=2) == [[], []]
    how = decoding(VOCABULARY, False, 4)
    assert how.stop == (EOS,)
    assert how.forbid is not None
    assert not how.forbid[EOS]


@pytest.mark.parametrize("name", FAMILIES)
def test_nats_are_those_of_a_loop_over_one_reference_and_token_at_a_time(name: str, make: Make) -> None:
    run = make(name)
    items = [
        {"source": "the land", "references": ["of the people", "one"]},
        {"source": "a much longer source than the other one", "references": ["the government"]},
        {"source": "war", "references": ["peace"]},
    ]
    family = as_prefix(run.family)
    pairs = encoded(run, items, 10)
    asks = Conditional(run.corpus.vocabulary, family.layout)
    found = nats(family, asks, pairs)
    encode, words = run.corpus.tokenizer.encode, run.corpus.vocabulary
    for item, got, sizes in zip(items, found, pairs.bytes, strict=True):
        source, expected = torch.tensor([encode(item["source"])]), 0.0
        for reference in item["references"]:
            target = [*encode(reference), words.eos]
            for place, token in enumerate(target):
                read = torch.tensor([[words.bos, *target[:place]]])
                whole = torch.cat((source, read), dim=1)
                batch = Batch.of(whole, is_prefix=torch.arange(whole.shape[1])[None] < source.shape[1])
                if name == "encoder_decoder":
                    batch = Batch.of(read, source=source)
                with torch.no_grad():
                    logp = family.logits(family.hidden(batch).rows[:, -1]).log_softmax(-1)
                expected -= float(logp[0, token])
        assert got == pytest.approx(expected, rel=1e-4)
        assert sizes == [len(reference.encode()) for reference in item["references"]]


@pytest.mark.parametrize("name", ["decoder_ar", "permuted_lm"])
def test_in_its_own_way_a_family_scores_by_the_chances_it_writes_by(name: str) -> None:
    family, sources = tiny(name), [[50, 51, 52], [60]]
    asks, targets = Conditional(VOCABULARY, family.layout), [[40, 41, EOS], [42, EOS]]
    pairs = Pairs(sources, [[target] for target in targets], [[1], [1]], 0, 0)
    for source, target, got in zip(sources, targets, nats(family, asks, pairs), strict=True):
        prompt = asks.prompt_pair(torch.tensor([source]), torch.tensor([6]))
        with torch.no_grad():
            steps = family.steps(prompt, 6)
            logits, expected = steps.first(), 0.0
            for token in target:
                expected -= float(logits.log_softmax(-1)[0, token])
                logits = steps.next(torch.tensor([token]))
        assert got == pytest.approx(expected, rel=1e-4)


def test_portions_are_of_about_one_length_and_within_their_cells() -> None:
    found = [each.tolist() for each in portions(np.array([9, 2, 3, 2, 30]), 12)]
    assert found == [[1, 3, 2], [0], [4]]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns_a_dictionary_that_copying_does_not_know(name: str, make: Make) -> None:
    run = make(name)
    before = {key: value.clone() for key, value in run.family.state_dict().items()}
    epochs = 110 if name == "encoder_ae" else 60
    answer = MODES["generation"]["finetuned"](question(run, DICTIONARY * 2, epochs=epochs, batch=8))
    assert all(torch.equal(value, before[key]) for key, value in run.family.state_dict().items())
    assert answer.finetuned is not None
    assert answer.finetuned.kind == name
    left = answer.finetuned.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in left.items())
    ways = ["shared", "own"] if name in OWN else ["shared"]
    assert [each.variant["decoding"] for each in answer.outcomes] == ways
    assert [each["decoding"] for each in answer.trials] == ways
    for each in answer.outcomes:
        assert each.variant == {
            "model": "pretrained",
            "decoding": each.variant["decoding"],
            "examples": 8,
            "part": "test",
        }
        assert METRICS["exact_text"].of(each.rows) == 100
        assert ("nats" in each.rows) == (name != "encoder_ae" or each.variant["decoding"] == "shared")
        if "nats" in each.rows:
            assert METRICS["nats_per_byte"].of(each.rows) < 0.5  # untrained: two tokens of 8.3 nats a word
    assert GENERATION.baselines is not None
    copied = GENERATION.baselines(DICTIONARY, DICTIONARY)["copy"]
    assert METRICS["exact_text"].of(copied) == 0


def test_all_single_stacks_of_the_same_weights_give_the_same_numbers(make: Make) -> None:
    found = []
    for name in ("encoder_ae", "decoder_ar", "prefix_lm"):
        run = make(name)
        items = question(run, DICTIONARY, epochs=2)
        shared = replace(run, family=as_prefix(run.family))
        tuned = prepared(items, shared, DICTIONARY, 4)
        learner, _ = finetuned(
            shared, tuned, "shared", 1e-2, 0, items.ask.finetune, Progress("dictionary", 1)
        )
        found.append(tuned.predict(learner, "test"))
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])


def test_validation_is_not_decoded_unless_it_is_judged_by_text(make: Make) -> None:
    run = make("prefix_lm")
    for metrics, columns in (
        ((), ["item", "nats", "bytes", "references"]),
        (("bleu",), ["item", "nats", "bytes", "prediction", "references"]),
    ):
        tuned = prepared(question(run, DICTIONARY, metrics), run, DICTIONARY, 4)
        learner = Learner(run.family, tuned.objective("shared"))
        assert list(tuned.predict(learner, "validation")) == columns
        assert "prediction" in tuned.predict(learner, "test")


def test_seeds_that_diverge_are_all_counted_and_know_nothing(make: Make) -> None:
    asked = question(make("prefix_lm"), DICTIONARY[:4], learning_rates=[1e38], seeds=2, epochs=1)
    found = generation.finetuned(asked)
    assert [trial["diverged"] for trial in found.trials] == [True, True]
    assert [trial["finetuning_seed"] for trial in found.trials] == [0, 1]
    for metric, value in (("nats_per_byte", 8 * math.log(2)), ("bits_per_byte", 8)):
        assert METRICS[metric].of(found.outcomes[0].rows) == pytest.approx(value)


def test_a_trial_whose_score_is_no_number_is_beaten_by_any_other(make: Make) -> None:
    asked = question(make("prefix_lm"), DICTIONARY[:4], learning_rates=[1e-2, 1e-3], epochs=1)
    scores, tried = iter([math.nan, -1e9]), []

    def validation(learner: Learner) -> float:
        tried.append(learner.family)
        return next(scores)

    def prepare(run: Run, train: Sequence[Example]) -> Tuned:
        return replace(prepared(asked, run, train, 8), validation=validation)

    found = answer(asked, prepare, ["shared"], "decoding", lambda each: iter([("pretrained", each.run)]))
    assert [trial["validation"] for trial in found.trials] == [-math.inf, -1e9]
    assert found.finetuned is tried[1]


def test_the_same_shape_untrained_is_finetuned_too(make: Make) -> None:
    run = make("permuted_lm")
    names = [name for name, _ in writers(question(run, DICTIONARY, scratch=True))]
    assert names == ["pretrained", "scratch"]
    assert all(each.family.kind == "prefix_lm" for _, each in writers(question(run, DICTIONARY)))


def test_which_reference_is_read_is_a_function_of_the_seed_and_all_are_read_in_time() -> None:
    targets = [[[1], [2], [3]], [[4]]]
    drawn = [generation.one_of_each(targets, seed) for seed in range(40)]
    assert drawn == [generation.one_of_each(targets, seed) for seed in range(40)]
    assert {first[0] for first, _ in drawn} == {1, 2, 3}
    assert {second[0] for _, second in drawn} == {4}


def test_rows_of_one_source_are_one_item_with_several_references() -> None:
    task = TaskConfig(name="few", kind="generation", path="none")
    rows = [
        {"source": "a", "references": "one"},
        {"source": "b", "references": ["two", "zwei", "two"]},
        {"source": "a", "references": "uno"},
        {"source": "a", "references": "one "},
    ]
    found, _ = examples(task, GENERATION, "train", rows)
    assert found == [
        {"source": "a", "references": ["one", "uno"]},
        {"source": "b", "references": ["two", "zwei"]},
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"source": "a", "references": []}, "row 1: its references is empty; leave such items out"),
        ({"source": " ", "references": "b"}, "row 1: its source is empty"),
        ({"source": "a", "references": ["b", ""]}, "row 1: its references is empty"),
        ({"source": 3, "references": "b"}, "row 1: its source is int, must be text or a list of texts"),
        ({"source": "a", "references": [1]}, "row 1: its references is list, must be text"),
    ],
)
def test_a_row_that_is_no_example_is_told_with_its_number(row: dict[str, object], told: str) -> None:
    task = TaskConfig(name="few", kind="generation", path="none")
    with pytest.raises(UserError, match=told):
        examples(task, GENERATION, "train", [row])


def test_long_sources_lose_their_end_and_long_targets_too_and_both_are_counted(make: Make) -> None:
    run = make("decoder_ar")
    window, words, encode = run.recipe.size.length, run.corpus.vocabulary, run.corpus.tokenizer.encode
    items = [
        {"source": "the " * 100, "references": ["one two three", "one"]},
        {"source": "land", "references": ["ü" * 3]},
    ]
    pairs = encoded(run, items, longest := 3)
    assert pairs.sources[0] == encode("the " * 100)[: window - longest]
    assert pairs.targets[0] == [encode("one two three")[:3], [*encode("one"), words.eos]]
    assert (pairs.cut, pairs.targets_cut) == (1, 2)
    assert pairs.bytes[0] == [len(run.corpus.tokenizer.decode(pairs.targets[0][0])), 3]
    prompt = encoded(run, items, longest, "beginning", 2)
    assert prompt.sources[0] == encode("the " * 100)[-(window - longest - 2) :]


def test_texts_are_as_long_as_most_training_targets_and_half_a_window_at_most(make: Make) -> None:
    run = make("decoder_ar")
    short = [{"source": "a", "references": ["day"]} for _ in range(99)]
    assert longest_target(run, [*short, {"source": "b", "references": ["day " * 50]}]) == 3  # 1.2 * (1 + eos)
    assert longest_target(run, [{"source": "b", "references": ["day " * 50]}]) == run.recipe.size.length // 2


class Guessing(EncoderDecoder):
    unit = "pll"


def test_a_family_that_cannot_be_compared_is_told_before_anything_is_trained(make: Make) -> None:
    run = make("encoder_decoder")
    guessing = replace(run, family=Guessing(run.family.config))
    with pytest.raises(UserError, match="needs a true likelihood of its target") as told:
        MODES["generation"]["finetuned"](question(guessing, DICTIONARY))
    assert "\n" not in str(told.value)
    run = make("encoder_ae")
    bare = replace(run, corpus=replace(run.corpus, vocabulary=replace(run.corpus.vocabulary, mask=None)))
    with pytest.raises(UserError, match="needs the special tokens mask"):
        MODES["generation"]["finetuned"](question(bare, DICTIONARY))


@pytest.mark.parametrize("name", FAMILIES)
def test_without_finetuning_the_source_is_a_prompt_and_nats_are_those_of_the_scorer(
    name: str, make: Make
) -> None:
    run = make(name)
    items = [
        {"source": "the land of", "references": ["the people", "one"]},
        {"source": "war\n", "references": ["peace"]},
    ]
    outcome = prompted.zero_shot(question(run, items)).outcomes[0]
    assert outcome.variant == {"model": "pretrained", "decoding": "own", "part": "test"}
    assert len(outcome.rows["prediction"]) == 2
    if name == "encoder_ae":
        assert "nats" not in outcome.rows
        return
    scored = score_texts(run, [("the land of", " the people"), ("war\n", "peace")])
    assert outcome.rows["nats"].tolist() == pytest.approx([each.nats for each in scored], rel=1e-5)
    assert outcome.rows["bytes"].tolist() == [each.bytes for each in scored]


def test_an_objective_without_language_model_is_told_in_one_line(make: Make) -> None:
    run = make("encoder_ae", "objective=replaced_tokens")
    with pytest.raises(UserError, match="trained no head that predicts tokens"):
        prompted.zero_shot(question(run, DICTIONARY))


def test_a_task_asked_of_a_run_leaves_its_numbers_beside_those_of_copying(make: Make, tmp_path: Path) -> None:
    run = make("decoder_ar")
    for part in ("train", "validation", "test"):
        rows = [{"in": one["source"], "out": one["references"][0]} for one in DICTIONARY]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"name": "dictionary", "kind": "generation", "path": str(tmp_path)}
    task["columns"] = {"source": "{in}\n\nTL;DR:", "references": "out"}  # type: ignore[assignment]
    ask = AskConfig.model_validate({"task": task, "mode": "zero_shot"})
    run.folder.path.mkdir()
    place, _ = answered(run, ask)
    content = read_record(place, "outcomes")
    assert content is not None
    model, copied = content["outcomes"]
    assert list(model["metrics"]) == list(GENERATION.metrics)
    assert copied["variant"]["model"] == "copy"
    assert "nats_per_byte" not in copied["metrics"]
    assert content["writes"] == {"longest": 3, "beams": 1, "own": "left to right, cached", "unit": "nll"}
    table = pd.read_parquet(place.with_suffix(".parquet"))
    copies = table.loc[table["model"] == "copy", "prediction"]
    assert copies.tolist()[0] == "land\n\nTL;DR:"
