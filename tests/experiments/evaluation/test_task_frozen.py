"""Linear heads on vectors that nobody trains: of frozen states, and of tokens out of their context."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_sources import source

from archs import FAMILIES, CoreConfig, build
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from experiments.data.store import Corpus, load_corpus
from experiments.evaluation.encoding import encoded
from experiments.evaluation.frozen.heads import PENALTIES, heads
from experiments.evaluation.frozen.states import layers_of, states, word_states
from experiments.evaluation.frozen.static import means
from experiments.evaluation.modes import MODES
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.words import encoded_words
from experiments.recipe.build import build as built
from experiments.recipe.groups.task import AskConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from experiments.tasks.kind import Data, Example
from experiments.tasks.kinds import KINDS
from experiments.tasks.rows import load
from objectives.layouts import read

Compose = Callable[..., Recipe]
ANIMALS = ("cat", "dog", "fox", "hen", "cow", "pig", "owl", "bat")
METALS = ("iron", "gold", "zinc", "lead", "tin", "steel", "brass", "copper")
FILLERS = ("the", "some", "near", "was", "home", "when", "over", "by", "and", "old")
LINES = ("a cat", "the old dog was near the fox and the hen", "gold", "some iron over some zinc by home")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    place, chance = tmp_path_factory.mktemp("words"), random.Random(0)
    words = [*ANIMALS, *METALS, *FILLERS, *FILLERS]
    paragraphs = [" ".join(chance.choice(words) for _ in range(120)) for _ in range(80)]
    (place / "text.txt").write_text("\n\n".join(paragraphs))
    return load_corpus(source("text", str(place / "text.txt")), vocabulary_size=400, cache=place)


Make = Callable[..., Run]


@pytest.fixture
def make(compose: Compose, corpus: Corpus, tmp_path: Path) -> Make:
    def made(family: str = "encoder_ae", length: int = 32) -> Run:
        recipe = compose(f"family={family}", f"size.length={length}")
        torch.manual_seed(1)
        depth = 2 if family == "encoder_decoder" else None
        shape = CoreConfig(corpus.vocabulary.size, 3, 32, 2, 64, 64, decoder_layers=depth)
        tiny = build(family, shape).eval()
        asks = built(recipe).objective(corpus.vocabulary, tiny.layout)
        return Run(RunFolder(tmp_path), recipe, tiny, asks, corpus)

    return made


def asked(run: Run, mode: str, data: Data, kind: str = "classification", **how: Any) -> Answer:
    labels = [] if kind == "tagging" else ["no", "yes"]
    task = {"name": "mine", "kind": kind, "path": "mine", "labels": labels}
    ask = AskConfig.model_validate({"task": task, "mode": mode, **how})
    return MODES[kind][mode](Question(run, ask, data))


def parts(examples: list[Example], train: int, held: int) -> Data:
    test = examples[train + held :]
    return Data(examples[:train], examples[train : train + held], test, [], "digest")


def presence(count: int, seed: int = 0) -> list[Example]:
    """Whether gold stands anywhere among the animals."""
    chance, found = random.Random(seed), []
    for number in range(count):
        words = [chance.choice((*ANIMALS[:4], *FILLERS[:4])) for _ in range(chance.randint(4, 6))]
        if number % 2:
            words[chance.randrange(len(words))] = "gold"
        found.append({"text": " ".join(words), "label": number % 2})
    return found


def order(count: int, seed: int = 0) -> list[Example]:
    """Whether the animal stands before the metal; neighbours are of the same words, one of each label."""
    chance, found = random.Random(seed), []
    for _ in range(count // 2):
        one, other = chance.choice(ANIMALS), chance.choice(METALS)
        first, between = chance.choice(FILLERS), chance.choice(FILLERS)
        found.append({"text": f"{first} {one} {between} {other}", "label": 1})
        found.append({"text": f"{first} {other} {between} {one}", "label": 0})
    return found


def accuracy(answer: Answer) -> dict[str, float]:
    """Of each model's best outcome on validation."""
    found: dict[str, float] = {}
    for one in answer.outcomes:
        right = float(np.mean(one.rows["label"].to_numpy() == one.rows["predicted"].to_numpy()))
        found.setdefault(str(one.variant["model"]), right)
    return found


def by_hand(run: Run, text: str) -> dict[str, dict[str, torch.Tensor]]:
    """Each layer's states of one text by itself, pooled, from the layers' outputs one by one."""
    family, words = run.family, run.corpus.vocabulary
    ids = [words.cls, *run.corpus.tokenizer.encode(text), words.sep]
    batch = read(family.layout, torch.tensor([ids]), None, words)
    hidden, layers = family.hidden(batch), {}
    if isinstance(family, EncoderDecoder):
        memory, encoder = family.encode(batch)
        embedded = family.source_placement(family.embedding(batch.source), batch.source_positions)
        layers["embeddings"] = embedded, ids, True
        for number, rows in enumerate([*encoder[:-1], memory], start=1):
            layers[f"encoder {number}"] = rows, ids, True
    own, seen, both = batch.tokens[0].tolist(), "layer", family.both_ways
    if isinstance(family, EncoderDecoder):
        seen = "decoder"
    else:
        layers["embeddings"] = family.embed(batch.tokens, batch.positions), own, both
    for number, rows in enumerate([*hidden.layers[:-1], hidden.rows], start=1):
        layers[f"{seen} {number}"] = rows, own, both
    found: dict[str, dict[str, torch.Tensor]] = {"mean": {}, "own": {}}
    for name, (rows, tokens, ways) in layers.items():
        plain = [place for place, token in enumerate(tokens) if not words.special[token]]
        found["mean"][name] = rows[0, plain].mean(0)
        found["own"][name] = rows[0, 0 if ways else -1]
    return found


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_states_are_those_of_each_text_read_by_itself(family: str, make: Make) -> None:
    run = make(family)
    texts = encoded(run, [{"text": line} for line in LINES], "joined")
    names, found = states(run, texts, [3, 0, 1, 2], ("mean", "own"), last=False)
    depth = ["layer 1", "layer 2", "layer 3"]
    if family == "encoder_decoder":
        depth = ["encoder 1", "encoder 2", "encoder 3", "decoder 1", "decoder 2"]
    assert names == ["embeddings", *depth]
    for place, item in enumerate([3, 0, 1, 2]):
        expected = by_hand(run, LINES[item])
        for pooling in ("mean", "own"):
            rows = torch.stack([expected[pooling][name] for name in names])
            torch.testing.assert_close(found[pooling][place], rows, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_alone_is_the_last_of_all(family: str, make: Make) -> None:
    run = make(family)
    texts = encoded(run, [{"text": line} for line in LINES], "joined")
    _, every = states(run, texts, range(4), ("mean", "own"), last=False)
    names, last = states(run, texts, range(4), ("mean", "own"), last=True)
    assert len(names) == 1
    for pooling in ("mean", "own"):
        assert torch.equal(last[pooling], every[pooling][:, -1:])


@torch.no_grad()
def test_the_second_text_of_a_pair_is_read_as_the_second_token_type(make: Make) -> None:
    run = make()
    run = replace(run, family=build("encoder_ae", replace(run.family.config, token_types=2)).eval())
    words = run.corpus.vocabulary
    texts = encoded(run, [{"text": "a cat", "text_pair": "gold"}], "joined")
    tokens = torch.tensor(texts.rows)
    after = tokens[0].tolist().index(words.sep) + 1
    types = (torch.arange(tokens.shape[1]) >= after).long()[None]
    batch = replace(read(run.family.layout, tokens, None, words), token_types=types)
    _, found = states(run, texts, [0], ("own",), last=True)
    torch.testing.assert_close(found["own"][0, 0], run.family.hidden(batch).rows[0, 0])


def test_texts_of_a_pair_stay_together_when_read_apart(make: Make) -> None:
    run = make("decoder_ar")
    pairs = [{"text": one, "text_pair": other} for one, other in zip(LINES, LINES[::-1], strict=True)]
    texts = encoded(run, pairs, "apart")
    _, found = states(run, texts, [2, 0], ("own",), last=False)
    for row, line in enumerate((LINES[2], LINES[1], LINES[0], LINES[3])):
        expected = torch.stack(list(by_hand(run, line)["own"].values())).detach()
        torch.testing.assert_close(found["own"][row], expected, atol=1e-5, rtol=1e-5)


def test_a_static_mean_leaves_special_tokens_out(corpus: Corpus) -> None:
    words, table = corpus.vocabulary, torch.arange(corpus.vocabulary.size).float().unsqueeze(1)
    assert words.cls is not None
    assert words.sep is not None
    rows = [[words.cls, 100, 103, words.sep], [words.cls, words.sep]]
    assert means(rows, table, words).tolist() == [[101.5], [0.0]]


def test_static_vectors_find_a_word_and_are_blind_to_order(make: Make) -> None:
    found = accuracy(asked(make(), "static", parts(presence(400), 200, 100)))
    assert found.keys() == {"corpus vectors", "input embeddings", "random vectors"}
    assert min(found.values()) > 0.9
    blind = accuracy(asked(make(), "static", parts(order(400), 200, 100)))
    assert blind == dict.fromkeys(found, 0.5)


def test_the_row_that_read_the_text_in_order_tells_the_order(make: Make) -> None:
    answer = asked(
        make("encoder_decoder"), "frozen", parts(order(400), 200, 100), finetune={"scratch": False}
    )
    assert answer.outcomes[0].variant["pooling"] == "own"
    assert accuracy(answer)["pretrained"] > 0.9


def informative(count: int, seed: int, numbers: bool) -> tuple[torch.Tensor, np.ndarray]:
    """Features (n,5,8) of which layer 3 alone knows the answer."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 5, 8)).astype(np.float32)
    answer = features[:, 3, :4].sum(axis=1)
    labels = 100 * answer + 1000 if numbers else (answer > 0).astype(int)
    return torch.from_numpy(features * 7 + 2), labels


@pytest.mark.parametrize("classes", [2, None])
def test_a_mix_learns_which_layer_knows_the_answer(classes: int | None) -> None:
    features, labels = informative(400, 0, classes is None)
    asked_features, truth = informative(200, 1, classes is None)
    strongest, *_, weakest = heads(features, labels, classes)
    assert strongest.weights == pytest.approx([0.2] * 5, abs=0.01)
    assert weakest.weights[3] > 0.85
    assert sum(weakest.weights) == pytest.approx(1)
    found = weakest.answer(asked_features)
    if classes is None:
        assert np.abs(found - truth).mean() < 10  # they spread by 200
    else:
        assert (found == truth).mean() > 0.95


def test_validation_alone_chooses(make: Make) -> None:
    run, data = make("prefix_lm"), parts(presence(120), 60, 30)
    shuffled = [{**one, "label": 1 - one["label"]} for one in data.test]
    how: dict[str, Any] = {"layers": "each", "finetune": {"scratch": False}}
    found = [asked(run, "frozen", each, **how) for each in (data, replace(data, test=shuffled))]
    assert found[0].trials == found[1].trials
    assert found[0].more == found[1].more
    for one, other in zip(found[0].outcomes, found[1].outcomes, strict=True):
        assert one.variant == other.variant
        assert one.rows["predicted"].tolist() == other.rows["predicted"].tolist()


def test_a_head_is_the_best_on_validation_of_those_tried(make: Make) -> None:
    answer = asked(make(), "frozen", parts(presence(120), 60, 30), examples=[20, 60])
    assert len(answer.trials) == 2 * 2 * 2 * len(PENALTIES)  # sizes, models, poolings
    for head in answer.more["heads"]:
        own = ("model", "pooling", "layer", "examples")
        tried = [each for each in answer.trials if all(each[key] == head[key] for key in own)]
        assert [each["penalty"] for each in tried] == list(PENALTIES)
        assert head["validation"] == max(float(str(each["validation"])) for each in tried)
    assert [one.variant["examples"] for one in answer.outcomes] == [20] * 4 + [60] * 4
    assert [one.variant["model"] for one in answer.outcomes[:4]] == ["pretrained"] * 2 + ["scratch"] * 2


def test_each_layer_is_an_outcome_and_a_mix_tells_its_weights(make: Make) -> None:
    run, data = make("encoder_decoder"), parts(presence(60), 30, 15)
    how: dict[str, Any] = {"finetune": {"scratch": False, "poolings": ["mean"]}}
    each = asked(run, "frozen", data, layers="each", **how)
    names = {"embeddings", "encoder 1", "encoder 2", "encoder 3", "decoder 1", "decoder 2"}
    assert {one.variant["layer"] for one in each.outcomes} == names
    assert len(each.outcomes) == 6
    mix = asked(run, "frozen", data, layers="mix", **how)
    assert [one.variant for one in mix.outcomes] == [
        {"model": "pretrained", "pooling": "mean", "layer": "mix of layers", "examples": 30, "part": "test"}
    ]
    (head,) = mix.more["heads"]
    assert head["weights"].keys() == names
    assert head["scale"] > 0


@pytest.mark.slow
def test_pairs_and_numbers_have_heads_as_well(make: Make) -> None:
    chance, examples = random.Random(0), []
    for _ in range(120):
        one, other = (" ".join(chance.choice(ANIMALS) for _ in range(4)) for _ in range(2))
        alike = len(set(one.split()) & set(other.split()))
        examples.append({"text": one, "text_pair": other, "label": float(alike)})
    run, data = make(), parts(examples, 60, 30)
    for pair in ("joined", "apart"):
        for mode, how in (("frozen", {"layers": "mix"}), ("static", {})):
            finetune = {"scratch": False, "poolings": ["own"]}
            answer = asked(run, mode, data, "regression", pair=pair, finetune=finetune, **how)
            assert len(answer.outcomes[0].rows) == 30
            assert np.isfinite(answer.outcomes[0].rows["predicted"]).all()


def test_a_test_is_read_in_parts_as_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(parts(presence(60), 30, 15), apart=presence(10, seed=5))
    few = {"scratch": False, "poolings": ["mean"]}
    whole = asked(make(), "frozen", data, layers="mix", finetune=few)
    monkeypatch.setattr("experiments.evaluation.frozen.probing.ITEMS_AT_ONCE", 4)
    parted = asked(make(), "frozen", data, layers="mix", finetune=few)
    for one, other in zip(whole.outcomes, parted.outcomes, strict=True):
        assert one.variant == other.variant
        assert one.rows.equals(other.rows)
    assert [one.variant["part"] for one in whole.outcomes] == ["test", "apart"]


def test_examples_of_one_label_are_refused(make: Make) -> None:
    data = parts([one for one in presence(60) if one["label"] == 1], 10, 10)
    with pytest.raises(UserError, match="'mine': its first 10 training examples have one label alone"):
        asked(make(), "static", data)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_word_is_read_at_its_row_of_each_layer_of_its_text_by_itself(family: str, make: Make) -> None:
    run = make(family)
    words, sentences = run.corpus.vocabulary, [line.split() for line in LINES]
    texts = encoded_words(run, sentences)
    names, found = word_states(run, texts, [1, 3, 0], last=False)
    _, last = word_states(run, texts, [1, 3, 0], last=True)
    assert torch.equal(last, found[:, -1:])
    assert found.shape == (10 + 7 + 2, len(names), 32)
    expected = []
    for item in (1, 3, 0):
        batch = read(run.family.layout, torch.tensor([texts.tokens[item]]), None, words)
        layers = torch.stack([rows[0] for _, rows, *_ in layers_of(run.family, batch)], dim=1)
        expected += [layers[row] for row in texts.rows[item]]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


def tagged(count: int, seed: int = 0) -> list[Example]:
    chance, found = random.Random(seed), []
    for _ in range(count):
        words = [chance.choice((*ANIMALS[:4], "gold", "iron")) for _ in range(chance.randint(3, 8))]
        found.append({"tokens": words, "tags": ["B-metal" if word in METALS else "O" for word in words]})
    return found


@pytest.mark.parametrize("mode", ["frozen", "static"])
def test_words_are_tagged_and_those_past_the_window_are_outside(mode: str, make: Make) -> None:
    run, data = make("decoder_ar", length=16), parts(tagged(80), 40, 20)
    long = {"tokens": ["gold"] * 40, "tags": ["B-metal"] * 40}
    answer = asked(run, mode, replace(data, test=[*data.test, long]), "tagging", layers="each")
    assert answer.cut["test"] >= 1
    assert {one.variant["pooling"] for one in answer.outcomes} == {"words"}
    for rows in (one.rows for one in answer.outcomes if one.variant["model"] not in ("scratch",)):
        *short, cut = rows["predicted_tags"]
        assert short == [one["tags"] for one in data.test]
        assert set(cut[:7]) == {"B-metal"}
        assert set(cut[14:]) == {"O"}


def test_the_model_stays_as_it_was(make: Make) -> None:
    run = make("permuted_lm")
    run.family.train()
    before = {name: value.clone() for name, value in run.family.state_dict().items()}
    asked(run, "frozen", parts(presence(60), 30, 15))
    assert run.family.training
    assert all(torch.equal(before[name], value) for name, value in run.family.state_dict().items())


def test_the_first_examples_of_a_sorted_file_are_a_fair_sample_and_sizes_are_nested(tmp_path: Path) -> None:
    rows = [f'{{"text": "text {number}", "label": {int(number >= 500)}}}' for number in range(1000)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    (tmp_path / "test.jsonl").write_text("\n".join(rows[::100]))
    task = AskConfig.model_validate(
        {"task": {"name": "mine", "kind": "classification", "path": str(tmp_path), "labels": ["no", "yes"]}}
    ).task
    data = load(task, KINDS["classification"], training=True)
    assert 0.4 < np.mean([one["label"] for one in data.train[:200]]) < 0.6
    assert [one["text"] for one in data.test[:2]] == ["text 0", "text 100"]
    (tmp_path / "train.jsonl").write_text("\n".join(rows[::-1]))
    assert load(task, KINDS["classification"], training=True).train == data.train
