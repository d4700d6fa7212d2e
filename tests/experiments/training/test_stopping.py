"""A signal that asks for an end is heard after a step: what was trained is saved, and goes on from there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines
from experiments.training.checkpoints import saved
from experiments.training.train import train

Compose = Callable[..., Recipe]
STEPS = 120  # seconds of them: none may have ended before its signal comes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "number"), [(1, signal.SIGTERM), (1, signal.SIGUSR2), (2, signal.SIGTERM)]
)
def test_a_signal_saves_what_was_trained_and_the_end_is_as_without_it(
    devices: int, number: signal.Signals, compose: Compose, tmp_path: Path
) -> None:
    """Checkpoints are due at the end alone: the one that is there is the signal's."""
    asked = [
        "family=decoder_ar",
        f"budget.amount={STEPS}",
        "training.checkpoint_every=1000",
        "training.log_every=1",
    ]
    recipe = compose(*asked, f"training.devices={devices}")
    recipe.to_yaml(tmp_path / "recipe.yaml")
    run = RunFolder(tmp_path / "stopped")
    words = [sys.executable, "-m", "experiments", "train", "--recipe", str(tmp_path / "recipe.yaml")]
    process = subprocess.Popen([*words, "--folder", str(run.path)], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while len(read_lines(run.metrics)) < 3:
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + number, said
    assert said.splitlines()[-1].startswith(
        f"stopped by {number.name}, with what was trained saved; the same"
    )
    (checkpoint,) = saved(run)
    assert 3 <= checkpoint.step < STEPS
    assert checkpoint.step == read_lines(run.metrics)[-1]["step"]
    assert run.is_("running")
    train(recipe, run.path)
    train(recipe, tmp_path / "whole")
    assert run.weights.read_bytes() == RunFolder(tmp_path / "whole").weights.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_after_training_signals_do_what_they_did(devices: int, compose: Compose, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)]
    train(compose("budget.amount=3", f"training.devices={devices}"), tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)] == before
