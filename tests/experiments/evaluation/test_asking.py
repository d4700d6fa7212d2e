"""A task asked of a run: one grid for all, validation alone chooses, and the files say what was done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef

from archs.errors import UserError
from experiments.data.store import Corpus
from experiments.evaluation.asking import ask_run, metrics_of
from experiments.evaluation.encoding import fitted
from experiments.evaluation.finetuned.grid import batches
from experiments.evidence.chosen import by_item
from experiments.evidence.metrics import METRICS
from experiments.evidence.metrics.values import values
from experiments.evidence.stats.crossed import pseudo_values
from experiments.recipe.compose import compose_ask
from experiments.recipe.recipe import Recipe
from experiments.runs.run import restore
from experiments.tasks.examples import subset
from experiments.tasks.kinds import KINDS
from experiments.tasks.modes import mode_of
from experiments.tasks.rows import load
from experiments.training.train import train

GRID = ["finetune.learning_rates=[1e-3,1e-2]", "finetune.seeds=2", "finetune.epochs=1", "finetune.batch=8"]


@pytest.fixture
def untrained(compose: Callable[..., Recipe], tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run of a family that spent nothing: its weights are those of its seed."""

    def made(family: str, *more: str) -> Path:
        recipe = compose(f"family={family}", "budget.scale=0", *more)
        folder = tmp_path / family
        train(recipe, folder)
        return folder

    return made


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A task: is a colour in the sentence? Test and train alike, no validation."""
    place = tmp_path / "colours"
    place.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 20)):
        rows = []
        for number in range(count):
            label = int(rng.integers(2))
            word = rng.choice(["red", "blue", "green"] if label else ["old", "new", "great"])
            rows.append({"sentence": f"The {word} house of number {number} stands.", "label": label})
        pd.DataFrame(rows).to_json(place / f"{split}.jsonl", orient="records", lines=True)
    return place


def colour_task(place: Path, *more: str) -> list[str]:
    return ["task=cola", f"task.path={place}", "task.name=colours", "task.metrics=[accuracy]", *GRID, *more]


@pytest.mark.slow
def test_a_run_that_learned_nothing_is_its_own_model_from_scratch(
    untrained: Callable[..., Path], colours: Path
) -> None:
    result = ask_run(untrained("prefix_lm"), compose_ask(colour_task(colours)))
    content, rows = json.loads(result.read_text()), pd.read_parquet(result.with_suffix(".parquet"))
    models = [one["variant"]["model"] for one in content["outcomes"] if not one["baseline"]]
    assert models == ["pretrained", "pretrained", "scratch", "scratch"]
    pretrained, scratch = (rows[rows["model"] == model] for model in ("pretrained", "scratch"))
    assert pretrained["predicted"].tolist() == scratch["predicted"].tolist()
    assert len(pretrained) == 20 * 2 * 2  # items, finetuning seeds, poolings


@pytest.mark.slow
def test_numbers_are_those_of_the_rows_and_trials_are_equal_in_number(
    untrained: Callable[..., Path], colours: Path
) -> None:
    result = ask_run(untrained("decoder_ar"), compose_ask(colour_task(colours, "finetune.scratch=false")))
    content, rows = json.loads(result.read_text()), pd.read_parquet(result.with_suffix(".parquet"))
    for one in content["outcomes"]:
        same = rows
        for name, value in one["variant"].items():
            same = same[same[name] == value]
        assert one["metrics"]["accuracy"]["value"] == pytest.approx(
            100 * np.mean(same["label"] == same["predicted"])
        )
        assert one["items"] == 20
    trials = pd.DataFrame(content["trials"])
    assert trials["diverged"].tolist() == [False] * 4 * 3  # two rates, and the better one's second seed
    assert trials["validation"].isna().tolist() == (trials["finetuning_seed"] == 1).tolist()
    tried = trials[trials["finetuning_seed"] == 0].groupby(["model", "pooling"])["learning_rate"].apply(list)
    assert tried.index.tolist() == [
        ("pretrained", "mean"),
        ("pretrained", "own"),
        ("unmasked", "mean"),
        ("unmasked", "own"),
    ]
    assert all(rates == [1e-3, 1e-2] for rates in tried)
    assert content["data"]["notes"] == [
        "validation is a tenth of train, by a fixed hash",
        "5 of train are in the test too, word for word",
    ]


def test_more_examples_than_there_are_are_asked_once(untrained: Callable[..., Path], colours: Path) -> None:
    more = [
        "finetune.scratch=false",
        "finetune.poolings=[mean]",
        "finetune.seeds=1",
        "examples=[20,100,1000]",
    ]
    content = json.loads(
        ask_run(untrained("prefix_lm"), compose_ask(colour_task(colours, *more))).read_text()
    )
    there = content["data"]["train"]
    assert 20 < there < 100
    sizes = [one["variant"]["examples"] for one in content["outcomes"] if not one["baseline"]]
    assert sizes == [20, there]
    assert [trial["examples"] for trial in content["trials"]] == [20, 20, there, there]


@pytest.mark.slow
def test_what_is_chosen_does_not_depend_on_the_test_labels(
    untrained: Callable[..., Path], colours: Path
) -> None:
    run, ask = untrained("encoder_ae"), compose_ask(colour_task(colours, "finetune.scratch=false"))
    result = ask_run(run, ask)
    before, kept = json.loads(result.read_text()), result.with_suffix(".kept")
    test = colours / "test.jsonl"
    turned = [json.loads(line) for line in test.read_text().splitlines()]
    test.write_text("\n".join(json.dumps(row | {"label": 1 - row["label"]}) for row in turned))
    with pytest.raises(
        UserError, match=r"has the answer to another question, which differs in its items; set"
    ):
        ask_run(run, ask)
    assert json.loads(result.rename(kept).read_text()) == before  # nothing was lost
    after = json.loads(ask_run(run, ask).read_text())
    assert after["trials"] == before["trials"]
    one, other = (each["outcomes"][0]["metrics"]["accuracy"]["value"] for each in (before, after))
    assert one + other == pytest.approx(100)


@pytest.mark.slow
def test_texts_longer_than_the_window_are_cut_counted_and_told(
    untrained: Callable[..., Path], colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = untrained("encoder_decoder", "size.length=12")
    more = ["finetune.scratch=false", "finetune.poolings=[mean]", "finetune.seeds=1"]
    content = json.loads(ask_run(run, compose_ask(colour_task(colours, *more))).read_text())
    words = restore(run).corpus.tokenizer
    texts = [json.loads(line)["sentence"] for line in (colours / "test.jsonl").read_text().splitlines()]
    assert content["cut"]["test"] == sum(len(words.encode(text)) > 12 - 2 for text in texts) > 0
    assert content["cut"]["policy"] == KINDS["classification"].truncation
    assert "cut to 12 tokens" in capsys.readouterr().err


@pytest.mark.slow
def test_two_texts_read_apart_are_compared(untrained: Callable[..., Path], tmp_path: Path) -> None:
    place = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": f"a {n}", "sentence2": f"b {n % 7}", "label": n % 5} for n in range(90)]
    place.write_text("\n".join(map(json.dumps, rows)))
    run = untrained("permuted_lm")
    more = ["finetune.scratch=false", "finetune.poolings=[own]", "finetune.seeds=1", "finetune.epochs=1"]
    joined, apart = (
        ask_run(run, compose_ask(["task=stsb", f"task.path={place}", f"pair={pair}", *more]))
        for pair in ("joined", "apart")
    )
    content = json.loads(apart.read_text())
    assert content["ask"]["pair"] == "apart"
    assert content["outcomes"][0]["metrics"]["pearson"]["items"] == content["data"]["test"]
    assert (joined.name, apart.name) == ("stsb-finetuned.json", "stsb-finetuned-apart.json")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "no task is named"),
        (["task=colla"], "choose one of: cola"),
        (["task=cola", "mode=zero_shot"], "is of kind classification, which can be asked: finetuned"),
        (["task=cola", "task.metrics=[acuracy]"], "choose one of: accuracy"),
        (["task=cola", "task.metrics=[bleu]"], "unknown metric of kind classification 'bleu'"),
        (["task=cola", "beams=3"], "beams=3 is for kind generation, and this is classification"),
        (["task=wnut17", "pair=apart"], "pair=apart is for kinds that read pairs, and this is tagging"),
        (["task=cola", "example=5"], "choose one of: examples"),
        (["task=cola", "finetune.poolings=[maen]"], "finetune.poolings"),
        (["task=cola", "layers=mix"], "layers=mix is for mode frozen, and this is finetuned"),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], told: str) -> None:
    def asked() -> None:
        ask = compose_ask(overrides)
        mode_of(ask)
        metrics_of(ask, KINDS[ask.task.kind])

    with pytest.raises(UserError) as caught:
        asked()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_epoch_reads_every_example_once_in_batches_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 1000)
    steps = batches(lengths, batch=32, epochs=3, seed=1)
    read = np.concatenate(steps)
    assert np.bincount(read).tolist() == [3] * 1000
    assert max(len(step) for step in steps) == 32
    padded = sum(len(step) * lengths[step].max() for step in steps)
    shuffled = np.random.default_rng(0).permutation(read)
    as_it_comes = sum(len(part) * lengths[part].max() for part in np.array_split(shuffled, len(steps)))
    assert padded < 1.15 * lengths[read].sum() < as_it_comes
    again = batches(lengths, batch=32, epochs=3, seed=1)
    assert all((one == two).all() for one, two in zip(steps, again, strict=True))


def test_the_longer_text_loses_its_end_first() -> None:
    assert fitted([[1, 2, 3, 4, 5], [6, 7]], 5) == [[1, 2, 3], [6, 7]]
    assert fitted([[1, 2, 3, 4, 5], [6, 7, 8]], 2) == [[1], [6]]


def test_a_subset_holds_each_paradigm_in_its_share() -> None:
    items = [{"paradigm": name, "n": n} for n, name in enumerate(["a"] * 60 + ["b"] * 30 + ["c"] * 10)]
    chosen = subset(items, 20)
    assert [sum(one["paradigm"] == name for one in chosen) for name in "abc"] == [12, 6, 2]
    assert chosen == subset(items, 20)
    assert [one["n"] for one in chosen] == sorted(one["n"] for one in chosen)


def test_pseudo_values_are_the_items_of_a_mean_and_the_jackknife_of_a_correlation() -> None:
    rng = np.random.default_rng(0)
    label, predicted = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    rows = pd.DataFrame({"item": range(50), "label": label, "predicted": predicted})
    assert np.allclose(values(METRICS["accuracy"], rows), 100 * (label == predicted))
    jackknife = pseudo_values(lambda kept: 100 * matthews_corrcoef(label[kept], predicted[kept]), 50)
    assert np.allclose(values(METRICS["matthews"], rows), jackknife)


def test_a_seed_without_a_number_does_not_drop_out_of_its_item() -> None:
    rows = pd.DataFrame({"item": [0, 1, 0, 1], "finetuning_seed": [0, 0, 1, 1], "value": [1, 2, 3, np.nan]})
    assert by_item(rows).tolist() == pytest.approx([2, np.nan], nan_ok=True)


@pytest.mark.slow
def test_the_party_task_needs_no_files(address_corpus: Corpus) -> None:
    task = compose_ask(["task=party"]).task
    data = load(task, KINDS["classification"], training=True)
    assert (len(data.train), len(data.validation), len(data.test)) == (4000, 500, 1000)
