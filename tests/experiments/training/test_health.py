"""Divergence: a run that no longer learns stops, says when and why, and keeps what was good."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_files import rows

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.inline import Inline
from experiments.sweeps.launch.task import Task
from experiments.training.checkpoints import saved
from experiments.training.health import EXPLODED, DivergedError, Health
from experiments.training.learner import Learner
from experiments.training.module import Pretraining
from experiments.training.train import train

Compose = Callable[..., Recipe]
At = Callable[[int, Callable[[Any], Any]], None]
VOCABULARY = 4096


@pytest.fixture
def loss_at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Changes the loss of one step, of training alone."""
    forward = Learner.forward

    def arm(step: int, change: Callable[[Any], Any]) -> None:
        asked = 0

        def spoiled(self: Learner, batch: Any) -> Any:
            nonlocal asked
            loss = forward(self, batch)
            asked += self.training
            if self.training and asked == step:
                loss.value.data = change(loss.value.data)
            return loss

        monkeypatch.setattr(Learner, "forward", spoiled)

    return arm


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_at_its_step_though_none_is_recorded_there(
    value: float, compose: Compose, tmp_path: Path, loss_at: At
) -> None:
    loss_at(7, lambda loss: torch.full_like(loss, value))
    recipe = compose("budget.amount=100", "training.log_every=50", "training.checkpoint_every=5")
    with pytest.raises(DivergedError, match=rf"became {value} at step 7 \(3,584 tokens\)"):
        train(recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.status["state"] == "diverged"
    assert "at step 7 (3,584 tokens)" in run.status["why"]
    assert [each.step for each in saved(run) if each.sound] == [5]
    assert [row["step"] for row in rows(run.path)] == [1]  # no row may hold what is no number


def test_a_loss_that_explodes_stops_with_its_value_and_what_is_allowed_and_its_row_is_kept(
    compose: Compose, tmp_path: Path, loss_at: At
) -> None:
    loss_at(7, lambda loss: torch.full_like(loss, 1234.5))
    with pytest.raises(DivergedError, match=r"became 1234\.5 at step 7") as error:
        train(compose("budget.amount=100", "training.log_every=50"), tmp_path / "run")
    first, last = rows(tmp_path / "run")
    assert f"at most {EXPLODED * max(first['loss'], math.log(VOCABULARY)):.6g} is allowed" in str(error.value)
    assert (last["step"], last["loss"]) == (7, 1234.5)
    assert "validation_loss" not in last


def test_a_high_loss_that_is_no_explosion_is_trained_on(
    compose: Compose, tmp_path: Path, loss_at: At
) -> None:
    loss_at(2, lambda loss: torch.full_like(loss, 0.9 * EXPLODED * math.log(VOCABULARY)))
    train(compose("budget.amount=4"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")


def test_weights_that_are_no_numbers_are_never_a_checkpoint(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = Pretraining.on_train_batch_end

    def spoil(self: Pretraining, *rest: Any) -> None:
        if self.spent.steps == 3:  # the fourth step has been taken and is about to be saved
            self.learner.family.embedding.weight.data[5] = math.inf
        act(self, *rest)

    monkeypatch.setattr(Pretraining, "on_train_batch_end", spoil)
    with pytest.raises(DivergedError, match=r"weights of embedding\.weight were .* step 4 \(2,048 tokens\)"):
        train(compose("budget.amount=8", "training.checkpoint_every=2"), tmp_path / "run")
    assert [each.step for each in saved(RunFolder(tmp_path / "run"))] == [2]
    assert RunFolder(tmp_path / "run").is_("diverged")


def test_a_real_learning_rate_too_high_diverges(compose: Compose, tmp_path: Path) -> None:
    recipe = compose("training.learning_rate=1e30", "training.clip=1e30", "budget.amount=20")
    with pytest.raises(DivergedError, match="the loss became"):
        train(recipe, tmp_path / "run")


@pytest.mark.parametrize("recipe_of", ["system=electra", "system=unilm"])
def test_objectives_of_several_terms_start_far_from_an_explosion(
    recipe_of: str, compose: Compose, tmp_path: Path
) -> None:
    train(compose(recipe_of, "budget.amount=4"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")


def test_a_diverged_run_is_not_continued_by_itself_and_a_sweep_takes_it_as_it_is(
    compose: Compose, tmp_path: Path, loss_at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = compose("budget.amount=8")
    loss_at(3, lambda loss: loss * math.nan)
    with pytest.raises(DivergedError):
        train(recipe, tmp_path / "run")
    monkeypatch.undo()
    before = RunFolder(tmp_path / "run").status
    with pytest.raises(UserError) as error:
        train(recipe, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in ("not trained again", "at step 3", "name=…"))
    task = Task(recipe, tmp_path / "run", "mine", "run")
    assert drive([task], Inline(), retries=2) == {}
    assert RunFolder(tmp_path / "run").status == before
    with pytest.raises(UserError, match="another recipe"):  # what diverged was not this one
        train(compose("budget.amount=8", "training.learning_rate=1e-4"), tmp_path / "run")


def watched(health: Health, losses: list[float], device: str) -> list[str | None]:
    """What `health` has found after each step of a run of 100."""
    told = []
    for step, loss in enumerate(losses, start=1):
        value = torch.tensor(loss)
        module: Any = SimpleNamespace(
            spent=SimpleNamespace(steps=step),
            loss_value=value,
            progress=step / 100,
            finished=False,
            raw_tokens=512,
            device=torch.device(device),
        )
        health.watch(module)
        told.append(health.problem)
    return told


def test_on_a_device_the_step_is_told_exactly_though_it_is_looked_at_later() -> None:
    losses = [8.0, 8.0, math.nan, *[7.0] * 3]
    told = watched(Health(VOCABULARY, (6, 50), None), losses, "cuda")
    assert told[:5] == [None] * 5
    assert told[5] is not None
    assert "became nan at step 3 (1,536 tokens)" in told[5]
    assert watched(Health(VOCABULARY, (6, 50), None), losses, "cpu")[2] == told[5]


def test_a_first_loss_below_a_uniform_guess_sets_no_lower_bar() -> None:
    """As where a mixture begins with a pair's question."""
    bar = EXPLODED * math.log(VOCABULARY)
    assert watched(Health(VOCABULARY, (10, 50), None), [0.69, bar - 1], "cpu")[-1] is None
    assert watched(Health(VOCABULARY, (10, 50), None), [0.69, bar + 1], "cpu")[-1] is not None
    assert watched(Health(VOCABULARY, (10, 50), 43.0), [bar + 1], "cpu")[-1] is None
