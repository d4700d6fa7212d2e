"""Training: exactness, resuming, the independence of accumulation and processes, what a folder holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from run_files import KilledError, assert_same_to_the_last_bit, rows, weights

from archs import FAMILIES
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from experiments.evaluation.evaluate import evaluate_run
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import restore
from experiments.storage.json_files import read_json, read_lines
from experiments.training.module import Pretraining
from experiments.training.optimiser import Optimiser
from experiments.training.train import train

Compose = Callable[..., Recipe]
KillAt = Callable[[int], None]


# What counts steps, samples in its loss, has parameters that a step leaves alone, or weights of two names.
OTHERS = ["system=ernie", "system=electra", "system=unilm", "family=encoder_decoder_shared"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe_of", [*(f"family={family}" for family in FAMILIES), *OTHERS])
def test_a_killed_run_ends_as_an_undisturbed_one(
    recipe_of: str,
    compose: Compose,
    tmp_path: Path,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = compose(
        recipe_of,
        "size.dropout=0.1",
        "size.attention_dropout=0.1",
        "training.accumulate=2",
        "training.checkpoint_every=3",
        "training.log_every=1",
        "budget.amount=8",
    )
    train(recipe, tmp_path / "whole")
    for step in (2, 5, 7):  # before the first checkpoint, between two, after the last but one
        with monkeypatch.context() as patch:
            kill_at(step)
            with pytest.raises(KilledError):
                train(recipe, tmp_path / "killed")
            patch.undo()
        monkeypatch.undo()
    train(recipe, tmp_path / "killed")
    assert_same_to_the_last_bit(tmp_path / "whole", tmp_path / "killed")
    assert [row["step"] for row in rows(tmp_path / "killed")] == list(range(1, 9))


@pytest.mark.slow
def test_a_process_killed_by_the_system_resumes_by_the_same_command(compose: Compose, tmp_path: Path) -> None:
    recipe = compose("budget.amount=60", "training.checkpoint_every=5", "training.log_every=1")
    train(recipe, tmp_path / "whole")
    recipe.to_yaml(tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "experiments", "train", "--recipe", str(tmp_path / "recipe.yaml")]
    command += ["--folder", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(read_lines(tmp_path / "killed" / "metrics.jsonl")) < 12:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert RunFolder(tmp_path / "killed").is_("running")
    train(recipe, tmp_path / "killed")
    assert_same_to_the_last_bit(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_accumulation_does_not_change_the_loss(compose: Compose, tmp_path: Path) -> None:
    losses = {}
    for parts in (1, 4):
        recipe = compose("family=encoder_ae", "objective=sop", f"training.accumulate={parts}")
        train(recipe, tmp_path / str(parts))
        losses[parts] = [row["loss"] for row in rows(tmp_path / str(parts))]
    assert losses[4] == pytest.approx(losses[1], abs=2e-4)


def test_two_seeds_differ_and_one_seed_repeats_itself(compose: Compose, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(compose(f"seed={seed}", "budget.amount=3"), tmp_path / name)
    assert_same_to_the_last_bit(tmp_path / "a", tmp_path / "b")
    assert not torch.equal(
        weights(tmp_path / "a")["embedding.weight"], weights(tmp_path / "c")["embedding.weight"]
    )


def test_a_finished_run_is_not_trained_again(compose: Compose, tmp_path: Path) -> None:
    recipe = compose("budget.amount=2")
    train(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    train(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_loss_falls_on_real_text(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.amount=60", "training.learning_rate=3e-3"), tmp_path / "run")
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert losses[-1] < losses[0] - 1


def test_the_audit_says_what_was_planned_and_what_was_done(compose: Compose, tmp_path: Path) -> None:
    train(compose("family=encoder_ae", "budget.stop=tokens", "budget.amount=5120"), tmp_path / "run")
    audit = read_json(tmp_path / "run" / "audit.json")
    assert audit["spent"]["tokens"] == 5120
    assert audit["spent"]["steps"] == audit["plan"]["steps"] == 10
    assert audit["spent"]["targets"] == pytest.approx(0.15 * 5120, rel=0.05)
    planned = audit["plan"]["flops_per_step"] * 10
    assert audit["spent"]["flops"] == pytest.approx(planned, rel=0.01)
    counted = audit["plan"]["parameters"]
    assert audit["parameters"] == counted["core"] + counted["embedding"]
    assert any(line.startswith("full") for line in audit["attention"])


@pytest.mark.slow
def test_a_budget_in_seconds_stops_by_the_clock(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.stop=seconds", "budget.amount=1.5"), tmp_path / "run")
    spent = read_json(tmp_path / "run" / "audit.json")["spent"]
    assert spent["seconds"] >= 1.5
    assert rows(tmp_path / "run")[-1]["step"] == spent["steps"]


def test_an_untrained_run_holds_the_weights_of_its_seed_and_can_be_scored(
    compose: Compose, tmp_path: Path
) -> None:
    recipe = compose("seed=3", "budget.scale=0", "evaluation.party=false", "evaluation.infill=false")
    train(recipe, tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")
    assert rows(tmp_path / "run") == []
    audit = read_json(tmp_path / "run" / "audit.json")
    assert audit["spent"] == {"steps": 0, "tokens": 0, "targets": 0, "flops": 0, "seconds": 0}
    assert (audit["plan"]["steps"], audit["epochs"]) == (0, 0)
    config = restore(tmp_path / "run").family.config
    torch.manual_seed(3)
    fresh = DecoderAR(config)
    for name, weight in safetensors.torch.load_file(tmp_path / "run" / "model.safetensors").items():
        assert torch.equal(weight, fresh.state_dict()[name]), name
    evaluate_run(tmp_path / "run")
    scores = read_json(tmp_path / "run" / "evaluation.json")["likelihood"]
    assert scores["bits_per_byte"] == pytest.approx(scores["uniform_bits_per_byte"], rel=0.05)


def test_an_untrained_run_by_the_clock_takes_no_step(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.stop=seconds", "budget.scale=0"), tmp_path / "run")
    assert read_json(tmp_path / "run" / "audit.json")["spent"]["steps"] == 0


def test_half_a_budget_in_seconds_stops_after_half_of_them(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.stop=seconds", "budget.amount=1", "budget.scale=0.5"), tmp_path / "run")
    spent = read_json(tmp_path / "run" / "audit.json")["spent"]
    assert spent["seconds"] >= 0.5
    assert rows(tmp_path / "run")[-1]["fraction"] == 1


def test_the_schedule_warms_up_and_ends_at_its_final_share() -> None:
    optimiser = Optimiser(learning_rate=1.0, warmup=0.1, final=0.2)
    assert optimiser.rate_at(0.05) == pytest.approx(0.5)
    assert optimiser.rate_at(0.1) == pytest.approx(1.0)
    assert optimiser.rate_at(0.55) == pytest.approx(0.6)
    assert optimiser.rate_at(1.0) == optimiser.rate_at(1.5) == pytest.approx(0.2)


def test_a_folder_of_another_recipe_is_refused_and_left_alone(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.amount=2"), tmp_path / "run")
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    with pytest.raises(UserError, match=r"another recipe: .*learning_rate \(0\.002 there, 0\.01 now\)"):
        train(compose("budget.amount=2", "training.learning_rate=0.01"), tmp_path / "run")
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before


def test_a_corpus_shorter_than_one_batch_is_one_line(compose: Compose, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("\n\n".join(f"Paragraph {n} says something, but not very much." for n in range(60)))
    with pytest.raises(UserError, match="shorter than one batch"):
        train(compose(f"data.path={text}", "size.vocabulary=400", "training.batch=512"), tmp_path / "run")


@pytest.mark.slow
def test_a_tokenizer_without_a_mask_token_is_one_line(compose: Compose, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(["the state of the union"] * 50, trainer)
    bare.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="needs the special tokens mask"):
        train(compose("family=encoder_ae", f"data.tokenizer={tmp_path}/tokenizer.json"), tmp_path / "run")


def test_a_run_that_is_not_trained_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no trained run"):
        restore(tmp_path)


def test_a_restored_run_scores_as_the_one_that_was_trained(
    compose: Compose, tmp_path: Path, finished: list[Pretraining]
) -> None:
    train(compose("budget.amount=3", "size.tied=false"), tmp_path / "run")
    run = restore(tmp_path / "run")
    tokens = torch.from_numpy(run.corpus.test.tokens[:64].astype("int64")).view(2, 32)
    batch = run.objective.ask(tokens[:, :8], tokens[:, 8:])
    trained = finished[0].learner.family.eval()
    assert torch.equal(run.family.score(batch).nats, trained.score(batch).nats)


def test_metrics_hold_every_unit(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.amount=20"), tmp_path / "run")
    written = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = written[-1]
    assert last["step"] == 20
    assert last["tokens"] == last["targets"] == 20 * 8 * 64
    assert last["fraction"] == 1.0
    assert sum("validation_loss" in row for row in written) >= 10


def renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("query_key_value", "query"): weight for name, weight in weights.items()}


def test_weights_of_another_version_are_one_line(compose: Compose, tmp_path: Path) -> None:
    train(compose("budget.amount=2"), tmp_path / "run")
    file = tmp_path / "run" / "model.safetensors"
    safetensors.torch.save_file(renamed(safetensors.torch.load_file(file)), file)
    with pytest.raises(UserError, match="another version of pentarch"):
        restore(tmp_path / "run")
