"""A whole sweep on real text: controlled, resumable, evaluated, reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import wandb_files

from archs.decoding.decoding import GREEDY, Decoding
from archs.errors import UserError
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream
from experiments.evaluation.writing import generate_text
from experiments.evidence.audit import of_run
from experiments.recipe.config import flatten
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder, differences
from experiments.runs.reading import read_run
from experiments.runs.run import restore
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.plan import plan
from experiments.sweeps.recipe import SweepRecipe
from experiments.tasks.builtin import infill

Compose = Callable[..., Recipe]
ARMS = ["encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm"]
SMALL = [
    "size=tiny",
    "size.vocabulary=4096",
    "budget=smoke",
    "budget.amount=6",
    "training.batch=8",
    "training.accelerator=cpu",
    "training.threads=1",
    "evaluation.likelihood_windows=8",
    "evaluation.pseudo_likelihood_windows=2",
    "evaluation.finetune.steps=3",
    "evaluation.finetune.batch=4",
    "evaluation.finetune.examples=64",
    "evaluation.target=true",
    "evaluation.order=true",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path, address_corpus: Corpus) -> Path:
    """runs/five_families of a sweep of seconds, W&B offline."""
    out = tmp_path_factory.mktemp("sweep")
    sweeping.run(*compose_sweep("five_families", [*SMALL, f"out={out}", f"data.cache={cache}"]))
    return out / "five_families"


@pytest.mark.slow
def test_one_sweep_leaves_five_finished_arms_and_a_page(finished: Path) -> None:
    for arm in ARMS:
        run = RunFolder(finished / arm / "seed0")
        assert run.is_("done")
        assert read_json(run.path / "evaluation.json")["flow"]["ok"]
        for name in ("likelihood", "party", "infill", "target", "order"):
            assert len(pd.read_parquet(run.scores / f"{name}.parquet")) > 0
    page = (finished / "report" / "index.html").read_text()
    assert all(arm in page for arm in ARMS)
    assert len(pd.read_parquet(finished / "results.parquet").arm.unique()) == 5


def test_arms_differ_in_family_and_objective_only(finished: Path) -> None:
    recipes = [Recipe.from_yaml(finished / arm / "seed0" / "recipe.yaml") for arm in ARMS]
    for other in recipes[1:]:
        keys = [line.split(" ")[0] for line in differences(recipes[0], other)]
        assert keys
        assert all(key.split(".")[0] in ("family", "objective") for key in keys)


def test_arms_read_identical_raw_tokens(finished: Path, address_corpus: Corpus) -> None:
    audits = [read_json(finished / arm / "seed0" / "audit.json") for arm in ARMS]
    assert {audit["corpus"] for audit in audits} == {address_corpus.digest}
    assert {audit["spent"]["tokens"] for audit in audits} == {6 * 8 * 64}
    recipes = [Recipe.from_yaml(finished / arm / "seed0" / "recipe.yaml") for arm in ARMS]
    streams = [WindowStream(address_corpus.train, r.training.batch, r.size.length, r.seed) for r in recipes]
    for step in (0, 5):
        first, *others = [stream(step).tokens for stream in streams]
        assert all(torch.equal(first, other) for other in others)


def test_only_the_encoder_ae_has_a_pseudo_likelihood(finished: Path) -> None:
    units = {
        arm: read_json(finished / arm / "seed0" / "evaluation.json")["likelihood"]["unit"] for arm in ARMS
    }
    assert units == {arm: "pll" if arm == "encoder_ae" else "nll" for arm in ARMS}


def test_every_arm_answers_the_same_items(finished: Path) -> None:
    for name, columns in (
        ("party", ["item", "president", "label"]),
        ("infill", ["item", "left", "reference"]),
        ("target", ["item", "document", "tokens", "bytes"]),
        ("order", ["item", "document", "label"]),
    ):
        tables = [pd.read_parquet(finished / arm / "seed0" / "scores" / f"{name}.parquet") for arm in ARMS]
        assert all(table[columns].equals(tables[0][columns]) for table in tables)


def test_overlap_with_the_training_text_is_one_answer_for_all_arms(finished: Path) -> None:
    found = [read_json(finished / arm / "seed0" / "evaluation.json")["overlap"] for arm in ARMS]
    assert found == [found[0]] * len(ARMS)
    assert set(found[0]) == {"likelihood", "party", "infill", "target", "order"}
    assert found[0]["infill"] == found[0]["target"]
    # Paragraphs are those of the addresses that most of the training text is made of.
    assert found[0]["party"]["items"] > 0.5 > 0.1 > found[0]["order"]["items"]


def test_a_prediction_has_the_length_it_was_told(finished: Path) -> None:
    run = restore(finished / "permuted_lm" / "seed0")
    test = infill.examples(run.corpus.test, run.corpus.vocabulary, run.corpus.tokenizer, 200, 0)
    table = pd.read_parquet(run.folder.scores / "infill.parquet")
    decode = run.corpus.tokenizer.decode
    assert table.reference.tolist() == [decode(gap).strip() for gap in test.gaps()]
    longest = run.corpus.tokenizer.byte_lengths.max()
    assert (table.prediction.map(lambda text: len(text.encode())) <= test.lengths.numpy() * longest).all()
    assert table.prediction.map(len).gt(0).all()


def test_bits_per_byte_are_those_of_the_stored_items(finished: Path) -> None:
    run = restore(finished / "decoder_ar" / "seed0")
    table = pd.read_parquet(run.folder.scores / "likelihood.parquet")
    bits = table.nats.sum() / torch.tensor(2.0).log().item() / table.bytes.sum()
    found = read_json(run.folder.path / "evaluation.json")["likelihood"]
    assert found["bits_per_byte"] == pytest.approx(bits, rel=1e-6)
    # Hardly trained, so near the uniform ceiling.
    assert 0.8 < bits / found["uniform_bits_per_byte"] < 1.05


def test_the_stored_nats_are_the_models_own(finished: Path) -> None:
    from experiments.data.windows import held_out

    run = restore(finished / "decoder_ar" / "seed0")
    table = pd.read_parquet(run.folder.scores / "likelihood.parquet")
    tokens = held_out(run.corpus.test, 8, 64).tokens
    read = torch.cat((torch.full((8, 1), run.corpus.vocabulary.bos), tokens[:, :-1]), dim=1)
    from archs.batch import Batch

    with torch.no_grad():
        logp = run.family.logits(run.family.hidden(Batch.of(read)).rows).log_softmax(-1)
    by_hand = -logp.gather(2, tokens.unsqueeze(2)).squeeze(2)[:, 32:].sum(1)
    assert table.nats.tolist() == pytest.approx(by_hand.tolist(), rel=1e-4)
    decoded = [run.corpus.tokenizer.decode(row[32:].tolist()) for row in tokens]
    assert table.bytes.sum() == pytest.approx(sum(len(text.encode()) for text in decoded), rel=0.02)


def test_running_the_sweep_again_repeats_nothing(
    finished: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished, out / "five_families")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}

    def never(*_: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr("experiments.training.train.fit", never)
    sweeping.run(*compose_sweep("five_families", [*SMALL, f"out={out}", f"data.cache={cache}"]))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == before


@pytest.mark.slow
def test_a_sweep_finishes_what_is_missing(finished: Path, tmp_path: Path, cache: Path) -> None:
    out = tmp_path / "missing"
    shutil.copytree(finished, out / "five_families")
    shutil.rmtree(out / "five_families" / "prefix_lm")
    sweeping.run(*compose_sweep("five_families", [*SMALL, f"out={out}", f"data.cache={cache}"]))
    for name in ("party", "likelihood", "infill"):
        again = pd.read_parquet(out / "five_families" / "prefix_lm" / "seed0" / "scores" / f"{name}.parquet")
        first = pd.read_parquet(finished / "prefix_lm" / "seed0" / "scores" / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, first)


@pytest.mark.slow
def test_a_sweep_whose_match_fails_does_not_start(tmp_path: Path) -> None:
    overrides = [*SMALL, f"out={tmp_path}", "budget.tolerance=0.0", "size.layers=3"]
    with pytest.raises(UserError, match="cannot be matched"):
        sweeping.run(*compose_sweep("five_families", overrides))
    assert not any(tmp_path.iterdir())


def test_the_budget_table_fits_eighty_columns(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    plan(*compose_sweep("five_families", []))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(arm in shown for arm in ARMS)
    assert "787,584" in shown
    assert "2+2 x 128" in shown


@pytest.mark.parametrize("family", ARMS)
def test_every_family_continues_a_text(family: str, finished: Path) -> None:
    folder = finished / family / "seed0"
    text = generate_text(folder, "Fellow citizens of the Senate", 8, GREEDY)
    assert text.startswith("Fellow citizens of the Senate")
    assert len(text) > len("Fellow citizens of the Senate")
    assert text == generate_text(folder, "Fellow citizens of the Senate", 8, GREEDY)
    assert generate_text(folder, "", 4, Decoding(temperature=1.0, top_k=20, top_p=0.9))


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_an_offline_wandb_run_holds_exactly_what_the_report_holds(arm: str, finished: Path) -> None:
    run = read_run(finished / arm / "seed0", 0)
    trained, evaluated = wandb_files.fragments(run.path)
    first, last = wandb_files.overview(trained), wandb_files.overview(evaluated)
    assert first["run_id"] == last["run_id"] == (run.path / "wandb" / "run_id").read_text()
    assert first["name"] == f"{arm}-seed0"
    assert {arm, "seed0", "match=core_parameters", "stop=steps"} <= set(first["tags"])

    *learning, audit = wandb_files.history(trained)
    assert learning == run.metrics
    assert run.audit is not None
    assert {name: audit[name] for name in ("tokens", "targets", "flops", "seconds")} == {
        name: value for name, value in run.audit["spent"].items() if name != "steps"
    }
    assert wandb_files.table(trained, "audit_table") == of_run(run)
    assert first["summary"]["audit/parameters"] == run.audit["parameters"]
    losses = [row["validation_loss"] for row in run.metrics]
    assert first["summary"]["validation_loss"] == {"min": min(losses), "last": losses[-1]}

    summary = last["summary"]
    report = pd.read_parquet(finished / "results.parquet").query("arm == @arm")
    scores = {name: value for name, value in summary.items() if name.startswith("score/")}
    assert scores == {f"score/{row.metric}": row.value for row in report.itertuples()}
    asked = {name.replace(".", "/"): value for name, value in flatten(run.evaluation).items()}
    assert {name: summary[f"evaluation/{name}"] for name in asked} == asked
    assert wandb_files.table(evaluated, "samples") == run.samples
    assert list(evaluated.rglob("who_sees_whom*.png"))


def test_sweep_json_names_what_is_meant_to_run(finished: Path) -> None:
    sweep = SweepRecipe(**json.loads((finished / "sweep.json").read_text()))
    assert list(sweep.arms) == ARMS


@pytest.mark.slow
def test_an_arm_that_diverges_is_counted_and_the_others_go_on(tmp_path: Path, cache: Path) -> None:
    overrides = [*SMALL, "tracking=none", f"out={tmp_path}", f"data.cache={cache}", "training.log_every=1"]
    overrides += ["~arms.encoder_ae", "~arms.encoder_decoder", "~arms.permuted_lm"]
    overrides += ["evaluation.party=false", "evaluation.infill=false", "evaluation.order=false"]
    overrides += ["evaluation.target=false", "evaluation.samples=0"]
    sweep, recipes = compose_sweep("five_families", overrides)
    wild = recipes["decoder_ar", 0].model_dump()
    wild["training"] |= {"learning_rate": 1e30, "clip": 1e30}
    recipes["decoder_ar", 0] = Recipe(**wild)
    for _ in range(2):  # a second run neither tries again nor stops
        sweeping.run(sweep, recipes)
        assert RunFolder(tmp_path / "five_families" / "decoder_ar" / "seed0").is_("diverged")
        assert RunFolder(tmp_path / "five_families" / "prefix_lm" / "seed0").is_("done")
    page = (tmp_path / "five_families" / "report" / "index.html").read_text()
    assert "diverged" in page
    assert "the loss became nan at step" in page


def test_the_same_recipe_may_be_followed_elsewhere(compose: Compose) -> None:
    assert compose("tracking=none").digest() == compose("tracking=wandb").digest()
    assert compose("data.cache=/elsewhere").digest() == compose().digest()
    assert compose("training.workers=2").digest() == compose().digest()
    assert compose("training.learning_rate=0.5").digest() != compose().digest()
