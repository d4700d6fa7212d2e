"""A sweep handed to W&B's agents, whose commands W&B's own code makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb_files
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.agents import hand_over
from experiments.sweeps.compose import compose_sweep

SMALL = [
    "size=tiny",
    "size.vocabulary=4096",
    "budget=smoke",
    "budget.amount=2",
    "training.batch=8",
    "training.accelerator=cpu",
    "training.threads=1",
    "evaluation.likelihood_windows=4",
    "evaluation.party=false",
    "evaluation.infill=false",
    "evaluation.samples=0",
    "~arms.encoder_ae",
    "~arms.encoder_decoder",
    "~arms.permuted_lm",
]


def commands(definition: dict[str, Any]) -> list[list[str]]:
    """What an agent would run, one a value of the grid."""
    (parameter,) = definition["parameters"]
    made = []
    for value in definition["parameters"][parameter]["values"]:
        given = create_sweep_command_args({"args": {parameter: {"value": value}}})
        given |= {"env": ["/usr/bin/env"], "program": [definition["program"]]}
        command: list[str] = []
        for part in create_sweep_command(list(definition["command"])):
            command += given[part[2:-1]] if part.startswith("${") else [part]
        made.append(command)
    return made


@pytest.mark.slow
def test_agents_train_the_sweeps_own_runs_and_the_sweep_finishes_the_rest(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # paths are relative to where agents start
    monkeypatch.setenv("WANDB_MODE", "offline")
    composed = compose_sweep("five_families", [*SMALL, f"data.cache={cache}"])
    assert hand_over(*composed, Path("handed/agents.yaml")) == 2
    definition = yaml.safe_load(Path("handed/agents.yaml").read_text())
    assert definition["method"] == "grid"
    first, second = commands(definition)
    recipe = "handed/agents_recipes/decoder_ar-seed0.yaml"
    assert first == ["/usr/bin/env", "pentarch", "train", "--group=five_families", f"--recipe={recipe}"]
    assert Recipe.from_yaml(recipe) == composed[1]["decoder_ar", 0]

    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "WANDB_SWEEP_ID": "swept",
        "WANDB_RUN_ID": "agents1",
    }
    subprocess.run(first, env=environment, check=True)
    trained = RunFolder(Path("runs/five_families/decoder_ar/seed0"))
    assert trained.is_("trained")
    (fragment,) = wandb_files.fragments(trained.path)
    assert wandb_files.overview(fragment)["run_id"] == "agents1"
    assert b"swept" in next(fragment.glob("*.wandb")).read_bytes()
    before = trained.weights.stat().st_mtime_ns

    sweeping.run(*composed)
    assert trained.is_("done")
    assert trained.weights.stat().st_mtime_ns == before
    assert RunFolder(Path("runs/five_families/prefix_lm/seed0")).is_("done")
    assert Path("runs/five_families/report/index.html").exists()
    subprocess.run(second, env=environment, check=True)  # an agent that comes late does nothing
    assert RunFolder(Path("runs/five_families/prefix_lm/seed0")).is_("done")


def test_what_is_handed_over_is_declared_before_any_agent_runs(tmp_path: Path) -> None:
    composed = compose_sweep("five_families", [f"out={tmp_path}/runs", "seeds=2"])
    assert hand_over(*composed, tmp_path / "agents.yaml") == 10
    assert read_json(tmp_path / "runs" / "five_families" / "design.json")["seeds"]["prefix_lm"] == 2


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["tuning={learning_rates: [1e-3, 2e-3]}"], "tunes"),
        (["tracking=none"], "needs tracking=wandb"),
        (["tracking=tensorboard"], "needs tracking=wandb"),
    ],
)
def test_a_sweep_that_cannot_be_handed_over_is_one_line_and_writes_nothing(
    overrides: list[str], why: str, tmp_path: Path
) -> None:
    composed = compose_sweep("five_families", [f"out={tmp_path}/runs", *overrides])
    with pytest.raises(UserError, match=why):
        hand_over(*composed, tmp_path / "agents.yaml")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    composed = compose_sweep("five_families", [f"out={tmp_path}/runs"])
    with pytest.raises(UserError, match="cannot be written"):
        hand_over(*composed, tmp_path / "file" / "agents.yaml")


def test_the_command_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments import cli

    file = tmp_path / "agents.yaml"
    command = ["pentarch", "plan", "five_families", f"out={tmp_path}/runs", "--wandb-sweep", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    cli.main()
    told = capsys.readouterr().err
    assert f"5 runs for W&B's agents: {file}" in told
    assert f"wandb sweep {file}" in told
