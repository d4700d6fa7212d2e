"""What people get wrong, and what breaks: one line, and nothing that was trained is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_files import cut

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import restore
from experiments.storage.json_files import read_lines
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.training.train import train

Compose = Callable[..., Recipe]
WORDS = ("the", "state", "of", "our", "union", "is", "strong", "and", "growing", "fast", "with", "people")


def one_line(error: pytest.ExceptionInfo[UserError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def text_of(number: int) -> str:
    """Paragraphs that differ: word i of paragraph n is WORDS[(i * n) mod 12]."""
    return "\n\n".join(" ".join(WORDS[(i * n) % len(WORDS)] for i in range(80)) for n in range(1, number))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps on a text file of its own; copy it before damaging it."""
    from experiments.recipe.compose import compose_recipe

    place = tmp_path_factory.mktemp("trained")
    (place / "text.txt").write_text(text_of(200))
    overrides = ["size=tiny", "budget=smoke", "budget.amount=4", "tracking=none", "training.threads=1"]
    overrides += [f"data.path={place}/text.txt", f"data.cache={place}/cache", "training.accelerator=cpu"]
    train(compose_recipe(overrides), place / "run")
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(trained / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_a_mistake_at_the_start_can_be_mended_in_the_same_folder(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="is empty"):
        train(compose(f"data.path={tmp_path}/empty.txt"), tmp_path / "run")
    (tmp_path / "text.txt").write_text(text_of(200))
    mended = compose(f"data.path={tmp_path}/text.txt", "budget.amount=2", "size.vocabulary=512")
    train(mended, tmp_path / "run")
    assert Recipe.from_yaml(tmp_path / "run" / "recipe.yaml") == mended
    with pytest.raises(UserError, match="another recipe"):
        train(mended.model_copy(update={"seed": 1}), tmp_path / "run")


@pytest.mark.parametrize("name", ["status.json", "audit.json", "model.safetensors"])
def test_a_truncated_file_of_a_run_is_one_line(name: str, run: RunFolder) -> None:
    cut(run.path / name)
    with pytest.raises(UserError) as error:
        restore(run.path)
    one_line(error, name, "damaged", "delete")


@pytest.mark.parametrize("name", ["audit.json", "model.safetensors"])
def test_what_a_run_lost_comes_back_from_its_checkpoint(name: str, run: RunFolder) -> None:
    whole = restore(run.path).family.state_dict()
    (run.path / name).unlink()
    with pytest.raises(UserError) as error:
        restore(run.path)
    one_line(error, name, "delete status.json", "train again")
    (run.path / "status.json").unlink()
    train(Recipe.from_yaml(run.recipe), run.path)
    again = restore(run.path).family.state_dict()
    assert all(torch.equal(again[key], value) for key, value in whole.items())


def test_a_damaged_line_within_metrics_is_refused_and_the_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError) as error:
        read_lines(path)
    one_line(error, "line 2", "delete that line")
    path.write_text('{"step": 1}\n{"st')  # a kill in the middle of a line
    assert read_lines(path) == [{"step": 1}]


def test_a_run_is_not_read_with_another_text_than_its_own(trained: Path, run: RunFolder) -> None:
    text = trained / "text.txt"
    before = text.read_text()
    try:
        text.write_text(before.replace("strong", "weak"))
        with pytest.raises(UserError) as error:
            restore(run.path)
        one_line(error, "has changed since it was trained")
        run.set_status("running")
        with pytest.raises(UserError) as error:  # nor trained on with it
            train(Recipe.from_yaml(run.recipe), run.path)
        one_line(error, "has changed since it was trained")
    finally:
        text.write_text(before)


@pytest.mark.slow
def test_a_folder_has_one_process_at_a_time(run: RunFolder) -> None:
    recipe = Recipe.from_yaml(run.recipe)
    with run.alone(), pytest.raises(UserError) as error:
        train(recipe, run.path)
    one_line(error, "in use by another process")
    train(recipe, run.path)


@pytest.mark.slow
def test_mixed_precision_clips_and_trains(compose: Compose, tmp_path: Path) -> None:
    train(compose("training.precision=bf16-mixed", "budget.amount=3"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")


@pytest.mark.slow
def test_an_accelerator_that_is_not_there_is_one_line(compose: Compose, tmp_path: Path) -> None:
    missing = "mps" if torch.cuda.is_available() else "gpu"
    with pytest.raises(UserError) as error:
        train(compose(f"training.accelerator={missing}"), tmp_path / "run")
    one_line(error, f"training.accelerator={missing}", "auto")


def test_a_batch_longer_than_the_text_is_refused_before_it_is_planned(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a batch of that size does not fit the memory")

    monkeypatch.setattr("experiments.budget.plan.plan_arm", never)
    with pytest.raises(UserError) as error:
        train(compose("training.batch=1000000"), tmp_path / "run")
    one_line(error, "shorter than one batch")


def test_a_select_that_hides_nothing_is_refused(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "idle.py").write_text(
        "def select(tokens, word_starts, special, rng):\n    return special & ~special\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        train(compose("family=encoder_ae", "objective.options.select=idle.select"), tmp_path / "run")
    one_line(error, "asks for no token")


def test_a_sweep_that_cannot_be_written_says_only_that(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    overrides = ["size=tiny", "budget=smoke", "tracking=none", f"out={tmp_path}/file"]
    with pytest.raises(UserError) as error:
        sweeping.run(*compose_sweep("five_families", overrides))
    one_line(error, "cannot be written")
    assert capsys.readouterr() == ("", "")
