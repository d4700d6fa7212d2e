"""Equal tuning: the same trials for every arm, each arm's own choice, and a grid that grows for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.evidence.tuning import SEED, Point, Trial, Tuning
from experiments.recipe.recipe import Recipe
from experiments.storage.json_files import read_json
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.inline import Inline
from experiments.sweeps.launch.task import Task
from experiments.sweeps.recipe import TuningConfig
from experiments.sweeps.tuning import at, tune

Compose = Callable[..., Recipe]


def inline(tasks: list[Task]) -> dict[Path, str]:
    return drive(tasks, Inline(), retries=0)


def trial(rate: float, loss: float | None, warmup: float = 0.05) -> Trial:
    return Trial(Point(rate, warmup), loss, flops=2.0, tokens=3.0, seconds=5.0)


def test_the_least_validation_loss_is_chosen_and_a_diverged_trial_never() -> None:
    arms = {
        "a": [trial(1e-3, 3.0), trial(2e-3, 2.5), trial(4e-3, None)],
        "b": [trial(1e-3, 2.0), trial(2e-3, 2.0), trial(4e-3, 9.0)],
    }
    found = Tuning(0.2, [1e-3, 2e-3, 4e-3], [], arms)
    assert found.chosen("a").learning_rate == 2e-3
    assert found.chosen("b").learning_rate == 1e-3  # the smaller of two equal
    assert (found.end("a"), found.end("b")) == (0, -1)
    assert found.cost == {"flops": 12, "tokens": 18, "seconds": 30}
    assert found.as_json()["at_the_end_of_the_grid"] == ["b"]


@pytest.mark.slow
def test_trials_are_short_runs_on_a_seed_of_their_own_and_the_grid_grows_for_all(
    compose: Compose, tmp_path: Path
) -> None:
    """The first arm's best is made to lie at the upper end: both arms then try one more there, once."""
    recipes = {
        name: compose(f"family={family}", f"name={name}", "budget.amount=40")
        for name, family in (("one", "decoder_ar"), ("two", "encoder_ae"))
    }
    grid = TuningConfig(learning_rates=[1e-5, 2e-5], fraction=0.25)
    found = tune(grid, recipes, tmp_path, inline)
    assert found.rates == [1e-5, 2e-5, 4e-5]
    for name in recipes:
        rates = [each.point.learning_rate for each in found.trials[name]]
        assert rates == found.rates
        assert found.chosen(name).learning_rate == 4e-5  # so small that more is always better
        folders = sorted(path.name for path in (tmp_path / name / "tuning").iterdir())
        assert folders == ["lr1e-05-warmup0.05", "lr2e-05-warmup0.05", "lr4e-05-warmup0.05"]
        saved = Recipe.from_yaml(tmp_path / name / "tuning" / folders[0] / "recipe.yaml")
        assert (saved.seed, saved.budget.spends, saved.tracking.name) == (SEED, 10, "none")
        assert read_json(tmp_path / name / "tuning" / folders[0] / "audit.json")["spent"]["steps"] == 10
    assert read_json(tmp_path / "tuning.json")["at_the_end_of_the_grid"] == ["one", "two"]
    assert Tuning.load(tmp_path) == found


@pytest.mark.slow
def test_tuning_again_trains_nothing(compose: Compose, tmp_path: Path) -> None:
    arms = {"one": compose("family=decoder_ar", "name=one", "budget.amount=20")}
    grid = TuningConfig(learning_rates=[1e-3, 2e-3], warmups=[0.0, 0.1], fraction=0.2, extensions=0)
    found = tune(grid, arms, tmp_path, inline)
    assert [each.point for each in found.trials["one"]] == [
        Point(1e-3, 0.0),
        Point(1e-3, 0.1),
        Point(2e-3, 0.0),
        Point(2e-3, 0.1),
    ]
    again: list[Path] = []

    def watched(tasks: list[Task]) -> dict[Path, str]:
        again.extend(task.folder for task in tasks if not task.settled)
        return inline(tasks)

    assert tune(grid, arms, tmp_path, watched) == found
    assert again == []


def test_only_the_learning_rate_and_the_warm_up_change(compose: Compose) -> None:
    recipe = compose("family=decoder_ar")
    tuned = at(recipe, Point(3e-4, 0.2))
    assert (tuned.training.learning_rate, tuned.training.warmup) == (3e-4, 0.2)
    assert tuned.model_copy(update={"training": recipe.training}) == recipe


def test_an_untuned_sweep_has_no_tuning(tmp_path: Path) -> None:
    assert Tuning.load(tmp_path) is None
