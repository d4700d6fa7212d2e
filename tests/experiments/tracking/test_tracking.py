"""What is told of a run, and to whom: names, tags, TensorBoard's files, mistakes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import wandb_files

from archs.errors import UserError
from experiments import tracking
from experiments.evaluation.evaluate import evaluate_run
from experiments.evidence.audit import of_run
from experiments.recipe.compose import compose_recipe
from experiments.recipe.config import flatten
from experiments.recipe.recipe import Recipe
from experiments.runs.reading import read_run
from experiments.storage.json_files import read_json, read_lines
from experiments.tracking.wandb_run import WandbRun, tags, wandb_mode
from experiments.training.train import train

Compose = Callable[..., Recipe]
FEW_TASKS = ("evaluation.party=false", "evaluation.infill=false")


def test_tags_name_what_runs_are_filtered_by() -> None:
    recipe = compose_recipe(["family=prefix_lm", "size=small", "budget=hour", "seed=3"])
    assert tags(recipe) == ["prefix_lm", "prefix", "small", "seed3", "match=core_parameters", "stop=flops"]
    assert "small" not in tags(compose_recipe(["size=small", "size.width=128", "size.heads=2"]))
    assert "tiny" in tags(compose_recipe(["size=tiny", "size.dropout=0.1"]))


def test_tags_are_no_longer_than_wandb_takes() -> None:
    recipe = compose_recipe(["family=decoder_ar"])
    family = recipe.family.model_copy(update={"name": f"mine.{'Long' * 30}"})
    assert tags(recipe.model_copy(update={"family": family}))[0] == "Long" * 16


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "f" * 40}, "online"),
        ({"WANDB_API_KEY": "f" * 40, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_API_KEY": "f" * 40, "WANDB_MODE": "disabled"}, "offline"),
        ({"WANDB_MODE": "online"}, "offline"),
    ],
)
def test_a_run_is_uploaded_where_a_key_is_present_and_nobody_says_no(
    environment: dict[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode() == mode


def test_the_key_of_a_wandb_server_of_ones_own_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "keys").write_text(f"machine runs.example.org login user password {'f' * 40}\n")
    (tmp_path / "keys").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    assert wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://runs.example.org:8080")
    assert wandb_mode() == "online"


def test_no_secret_of_the_environment_is_written(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "f" * 39 + "7")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(compose("tracking=wandb", "budget.amount=2", *FEW_TASKS), tmp_path / "run")
    evaluate_run(tmp_path / "run")
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"f" * 39 + b"7" not in path.read_bytes(), path


@pytest.mark.slow
def test_under_an_agent_the_run_is_the_agents(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_SWEEP_ID", "swept")
        patch.setenv("WANDB_RUN_ID", "agents1")
        train(compose("tracking=wandb", "budget.amount=2", *FEW_TASKS), folder)
    evaluate_run(folder)  # elsewhere, later, and of the same W&B run
    ids = [wandb_files.overview(fragment)["run_id"] for fragment in wandb_files.fragments(folder)]
    assert ids == ["agents1", "agents1"]


def test_a_run_left_open_in_a_folder_that_is_gone_costs_the_next_one_nothing(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = compose("tracking=wandb", "budget.amount=2", *FEW_TASKS)
    left = WandbRun(recipe, tmp_path / "left", "mine")
    shutil.rmtree(tmp_path / "left")
    train(recipe, tmp_path / "next")
    (fragment,) = wandb_files.fragments(tmp_path / "next")
    assert len(wandb_files.history(fragment)) == len(read_lines(tmp_path / "next" / "metrics.jsonl")) + 1
    with suppress(Exception):  # there is no folder to end it in
        left.finish()


def test_a_service_that_was_started_elsewhere_writes_into_the_runs_folder(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is started by one that follows runs shares its service, which has another folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = compose("tracking=wandb", "budget.amount=2", *FEW_TASKS)
    train(recipe, tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(recipe, Path("run"))
    (fragment,) = wandb_files.fragments(Path("run"))
    assert len(wandb_files.history(fragment)) == len(read_lines(Path("run", "metrics.jsonl"))) + 1


def test_a_run_whose_evaluation_cannot_be_told_is_ended_all_the_same(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(compose("tracking=wandb", "budget.amount=2", *FEW_TASKS), tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text("no row\n{}\n")
    ended: list[WandbRun] = []
    finish = WandbRun.finish
    monkeypatch.setattr(WandbRun, "finish", lambda run: (ended.append(run), finish(run)))
    with pytest.raises(UserError, match="line 1 is damaged"):
        evaluate_run(tmp_path / "run")
    assert len(ended) == 1


@pytest.mark.parametrize("project", ["of/ours", "who?", "a" * 129, "50%", ""])
def test_a_project_that_wandb_refuses_is_an_error_before_anything_runs(project: str) -> None:
    from wandb import Settings
    from wandb.errors import UsageError

    with pytest.raises(UserError, match=r"tracking\.project"):
        compose_recipe(["family=decoder_ar", f"tracking.project='{project}'"])
    if project:  # an empty one is W&B's "uncategorized"
        with pytest.raises(UsageError):
            Settings(project=project)


def test_a_project_that_wandb_takes_is_taken() -> None:
    from wandb import Settings

    for project in ("a" * 128, "five families, 2026_11-26 (übung)"):
        assert compose_recipe([f"tracking.project='{project}'"]).tracking.project == project
        assert Settings(project=project).project == project


def test_tensorboard_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"pip install \"pentarch\[tensorboard\]\""):
        tracking.check(compose_recipe(["tracking=tensorboard"]))


def test_tensorboard_holds_what_the_folder_holds_and_a_resumed_run_no_point_twice(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.training.checkpoints import Checkpoint

    recipe = compose("tracking=tensorboard", "budget.amount=6", "training.checkpoint_every=2", *FEW_TASKS)
    folder, checkpoint = tmp_path / "run", Checkpoint.__call__

    def pulled(self: Checkpoint, module: object) -> None:
        checkpoint(self, module)  # type: ignore[arg-type]
        if module.spent.steps == 5:  # type: ignore[attr-defined]
            raise RuntimeError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "__call__", pulled)
        with pytest.raises(RuntimeError, match="pulled"):
            train(recipe, folder)
    train(recipe, folder)
    evaluate_run(folder)
    evaluate_run(folder)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    rows = read_lines(folder / "metrics.jsonl")
    for name in ("loss", "validation_loss", "tokens", "learning_rate"):
        points = [(event.step, event.value) for event in events.Scalars(name) if event.step <= 6]
        assert points == [(row["step"], np.float32(row[name])) for row in rows]
    assert len(events.Scalars("tokens")) == 6 + 2
    for name, value in flatten(read_json(folder / "evaluation.json")).items():
        if isinstance(value, float):
            (event,) = events.Scalars(f"evaluation/{name.replace('.', '/')}")
            assert event.value == np.float32(value)
    (drawn,) = events.Tensors("audit_table/text_summary")
    text = drawn.tensor_proto.string_val[0].decode()
    for row in of_run(read_run(folder, 0)):
        assert f"| {row['what']} | {row['unit']} | {row['done']} | {row['declared']} |" in text
    assert "samples/text_summary" in events.Tags()["tensors"]
    (image,) = events.Images("who_sees_whom")
    assert (image.width, image.height) == (128, 128)
