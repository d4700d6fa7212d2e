"""A sweep of claims on real text, in seconds: planned, tuned, controls first, decided, never run twice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.data.store import Corpus
from experiments.evidence.claims.decision import decision
from experiments.evidence.claims.registered import registered
from experiments.evidence.tuning import Tuning
from experiments.recipe.recipe import Recipe
from experiments.report import failed_controls
from experiments.runs.folder import RunFolder
from experiments.runs.reading import load
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.plan import plan

pytestmark = pytest.mark.slow

SMALL = [
    "size=tiny",
    "size.vocabulary=4096",
    "size.length=32",
    "budget.stop=tokens",
    "budget.amount=5120",
    "budget.tolerance=0.3",
    "training.batch=16",
    "training.accelerator=cpu",
    "training.threads=1",
    "tracking=none",
    "evaluation.likelihood_windows=8",
    "evaluation.pseudo_likelihood_windows=2",
    "evaluation.finetune.examples=64",
    "evaluation.samples=0",
    "seeds=2",
    "tuning.learning_rates=[1e-3,4e-3]",
    "tuning.fraction=0.5",
    "tuning.extensions=0",
]
CONTROLS = "controls=[more_compute,same_arm]"


def asked(out: Path, cache: Path, *more: str) -> list[str]:
    return [*SMALL, f"out={out}", f"data.cache={cache}", *more]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, cache: Path, address_corpus: Corpus) -> Path:
    """With two seeds no control can hold: a sign-flip cannot go below p = .5."""
    out = tmp_path_factory.mktemp("stopped")
    sweeping.run(*compose_sweep("claims", asked(out, cache, "claims=C11", CONTROLS)))
    return out / "claims"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path, address_corpus: Corpus) -> Path:
    out = tmp_path_factory.mktemp("finished")
    sweeping.run(*compose_sweep("claims", asked(out, cache, "claims=C11", "controls=[]")))
    return out / "claims"


def test_a_control_that_fails_stops_the_sweep_before_its_claims(stopped: Path) -> None:
    assert [each.name for each in failed_controls(stopped)] == ["more_compute"]
    for arm, seeds in (("half_ar", 2), ("eighth_ar", 4)):
        assert all(RunFolder(stopped / arm / f"seed{seed}").is_("done") for seed in range(seeds))
    assert not list(stopped.glob("sop*/seed*"))
    assert (stopped / "report" / "index.html").exists()


def test_arms_run_at_the_learning_rates_that_they_chose(finished: Path) -> None:
    tuned = Tuning.load(finished)
    assert tuned is not None
    assert set(tuned.trials) == {"sop", "nsp"}
    for arm in ("sop", "nsp", "sop.flops", "nsp.flops"):
        recipe = Recipe.from_yaml(finished / arm / "seed1" / "recipe.yaml")
        assert recipe.training.learning_rate == tuned.chosen(arm.partition(".")[0]).learning_rate
    assert all(
        len(trials) == 2 and all(trial.flops > 0 for trial in trials) for trials in tuned.trials.values()
    )


def test_every_arm_is_asked_the_same_pairs(finished: Path) -> None:
    tables = [
        pd.read_parquet(finished / arm / f"seed{seed}" / "scores" / "order.parquet")[
            ["item", "document", "label"]
        ]
        for arm in ("sop", "nsp", "sop.flops", "scratch.sop")
        for seed in (0, 1)
    ]
    assert all(table.equals(tables[0]) for table in tables)
    assert not (finished / "sop" / "seed0" / "scores" / "party.parquet").exists()


def test_from_scratch_is_the_seeds_own_weights(finished: Path) -> None:
    audit = read_json(finished / "scratch.sop" / "seed0" / "audit.json")
    assert audit["spent"]["steps"] == 0
    scores = [
        pd.read_parquet(finished / "scratch.sop" / f"seed{seed}" / "scores" / "order.parquet")
        for seed in (0, 1)
    ]
    assert not scores[0]["predicted_first"].equals(scores[1]["predicted_first"])


def test_both_budgets_are_spent(finished: Path) -> None:
    spent = {arm: read_json(finished / arm / "seed0" / "audit.json")["spent"] for arm in ("sop", "sop.flops")}
    assert spent["sop"]["tokens"] == 5120
    recipe = Recipe.from_yaml(finished / "sop.flops" / "seed0" / "recipe.yaml")
    assert spent["sop.flops"]["flops"] == pytest.approx(recipe.budget.spends, rel=0.1)


def test_with_two_seeds_nothing_is_decided(finished: Path) -> None:
    said = registered(finished)
    assert said is not None
    [outcome] = decision(load(finished), said).claims
    # Hardly trained: not above its own from-scratch model, and no seed count to say so either.
    assert outcome.verdict in ("not testable", "undecided")
    assert [(r.cell.stop, r.pooling) for r in outcome.readings] == [
        ("tokens", ""),
        ("flops", ""),
        ("tokens", "mean"),
        ("flops", "mean"),
    ]
    assert all(reading.findings[0].test.p >= 0.5 for reading in outcome.readings)


def test_the_same_command_again_trains_nothing(
    finished: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr("experiments.training.train.fit", never)
    sweeping.run(*compose_sweep("claims", asked(finished.parent, cache, "claims=C11", "controls=[]")))
    assert read_json(finished / "claims.json")["deviations"] == []


def test_the_plan_shows_costs_and_what_could_be_seen(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(*compose_sweep("claims", asked(tmp_path, cache, "claims=[C11,C12]", CONTROLS, "seeds=8")))
    shown = capsys.readouterr().out
    for words in ("scratch.sop", "what it costs", "from scratch, untrained", "C11 C", "+34.5", "within ±0.5"):
        assert words in shown, words
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert not list(tmp_path.iterdir())


def test_any_sweep_may_be_tuned_and_its_plan_counts_the_trials(
    cache: Path, address_corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [one for one in asked(tmp_path, cache, "seeds=1") if not one.startswith("evaluation.finetune")]
    dropped = ["~arms.encoder_decoder", "~arms.prefix_lm", "~arms.permuted_lm", "evaluation=likelihood"]
    composed = compose_sweep("five_families", [*small, *dropped])
    plan(*composed)
    shown = capsys.readouterr().out
    assert "tuning" in shown
    assert "claims" not in shown
    sweeping.run(*composed)
    tuned = Tuning.load(tmp_path / "five_families")
    assert tuned is not None
    for arm in ("encoder_ae", "decoder_ar"):
        recipe = Recipe.from_yaml(tmp_path / "five_families" / arm / "seed0" / "recipe.yaml")
        assert recipe.training.learning_rate == tuned.chosen(arm).learning_rate
        assert len(tuned.trials[arm]) == 2
    assert not (tmp_path / "five_families" / "claims.json").exists()
