"""W&B without a network, with a bad key, with a server that never answers: training is never held up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb_files
import wandb_server

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines
from experiments.tracking import upload
from experiments.training.module import Pretraining
from experiments.training.train import train

Compose = Callable[..., Recipe]
KEY = "0123456789abcdef" * 2 + "01234567"  # well formed, of nobody
NOISE = 3.0  # times as long as another takes the same training where other processes come and go
SLACK = 20.0  # seconds more: it waits 4 for its upload to end, while W&B itself waits 90 for a server


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The environment of somebody with a key, whose W&B is at an address."""

    def set_to(address: str) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_MODE", raising=False)

    return set_to


def timed(recipe: Recipe, folder: Path) -> tuple[float, str]:
    """The whole of `pentarch train`, its start and its end too: seconds, and what it said."""
    folder.parent.mkdir(exist_ok=True)
    recipe.to_yaml(folder.with_suffix(".yaml"))
    command = [sys.executable, "-m", "experiments", "train", "--recipe", str(folder.with_suffix(".yaml"))]
    started = time.monotonic()
    done = subprocess.run([*command, "--folder", str(folder)], stderr=subprocess.PIPE, text=True, check=True)
    return time.monotonic() - started, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("server", ["unreachable", "refusing", "silent"])
def test_no_server_holds_training_up_or_changes_it(
    server: str,
    compose: Compose,
    tmp_path: Path,
    online: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    followed = compose("tracking=wandb", "budget.amount=4")
    train(compose("budget.amount=4"), tmp_path / "none")
    offline, said = timed(followed, tmp_path / "offline")
    assert "W&B" not in said
    with getattr(wandb_server, server)() as address:
        online(address)
        took, said = timed(followed, tmp_path / "online")
        _end_upload(tmp_path / "online")
    assert took < NOISE * offline + SLACK
    assert RunFolder(tmp_path / "online").is_("trained")
    told = [line for line in said.splitlines() if line.startswith("W&B")]
    assert len(told) == 1
    assert "wandb beta sync" in told[0]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("none", "online")]
    assert weights[0] == weights[1]
    (fragment,) = wandb_files.fragments(tmp_path / "online")
    assert wandb_files.history(fragment)[:-1] == read_lines(tmp_path / "online" / "metrics.jsonl")
    assert address in (tmp_path / "online" / "wandb" / "upload.log").read_text()
    for path in (tmp_path / "online").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_run_is_uploaded_while_and_after_it_trains(
    compose: Compose, tmp_path: Path, online: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = compose("tracking=wandb", "tracking.project=mine", "tracking.entity=team", "budget.amount=4")
    with wandb_server.taking() as (address, received):
        online(address)
        train(recipe, tmp_path / "run", "some_sweep")
        assert "W&B" not in capfd.readouterr().err
        _end_uploads()
    assert received.history[:-1] == read_lines(tmp_path / "run" / "metrics.jsonl")
    first = received.created[0]
    assert (first["groupName"], first["jobType"]) == ("some_sweep", recipe.label)
    assert (first["entity"], first["project"]) == ("team", "mine")
    assert set(received.artifacts) == {"run_table", "model"}
    (fragment,) = wandb_files.fragments(tmp_path / "run")
    model = wandb_files.artifact(fragment, "some_sweep-decoder_ar-causal-seed0")
    assert set(model) == {"model.safetensors", "tokenizer.json", "recipe.yaml"}
    assert model["model.safetensors"] == tmp_path / "run" / "model.safetensors"  # no copy of it is made
    assert upload.uploaded(fragment)


@pytest.mark.slow
def test_a_resumed_run_is_one_run_whose_fragments_are_uploaded_in_order(
    compose: Compose, tmp_path: Path, online: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = compose("tracking=wandb", "budget.amount=6", "training.checkpoint_every=2")
    folder = tmp_path / "run"
    monkeypatch.setenv("WANDB_MODE", "offline")
    with monkeypatch.context() as patch:
        _at_step(patch, 5, lambda: _raise(RuntimeError("the plug was pulled")))
        with pytest.raises(RuntimeError, match="pulled"):
            train(recipe, folder)
    with wandb_server.taking() as (address, received):
        online(address)
        train(recipe, folder)
        _end_uploads()
    assert [upload.uploaded(each) for each in wandb_files.fragments(folder)] == [True, True]
    steps = [row["step"] for row in received.history if "step" in row]
    # The plug was pulled after the record of step 5 and before a checkpoint of it.
    assert steps == [1, 2, 3, 4, 5, 5, 6]
    assert not received.twice
    assert {given["name"] for given in received.created} == {(folder / "wandb" / "run_id").read_text()}


@pytest.mark.slow
def test_training_goes_on_without_the_service_that_writes_for_wandb(
    compose: Compose, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = compose("tracking=wandb", "budget.amount=6")
    train(compose("budget.amount=6"), tmp_path / "none")
    killed: list[int] = []
    with monkeypatch.context() as patch:
        _at_step(patch, 3, lambda: killed.extend(_kill_service()))
        train(recipe, tmp_path / "run")
    assert len(killed) == 1
    told = [line for line in capfd.readouterr().err.splitlines() if "tracking=wandb" in line]
    assert len(told) == 1
    assert len(read_lines(tmp_path / "run" / "metrics.jsonl")) == 6
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("none", "run")]
    assert weights[0] == weights[1]
    train(recipe, tmp_path / "next")  # of the same process, with a service of its own
    assert "warning" not in capfd.readouterr().err
    (fragment,) = wandb_files.fragments(tmp_path / "next")
    assert len(wandb_files.history(fragment)) == 7


def test_a_wandb_folder_that_cannot_be_written_is_one_line(
    compose: Compose, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").touch()  # no folder can be made there
    train(compose("tracking=wandb", "budget.amount=2"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")
    told = [line for line in capfd.readouterr().err.splitlines() if "tracking=wandb" in line]
    assert len(told) == 1
    assert "FileExistsError" in told[0]


@pytest.mark.slow
def test_an_upload_ends_soon_after_training_was_killed(tmp_path: Path, online: Callable[[str], None]) -> None:
    """It is W&B's that would go on for ever: it waits for rows of a file that nobody writes."""
    write = (
        "import sys, time, wandb, os, signal\n"
        "from pathlib import Path\n"
        "from experiments.tracking import upload\n"
        "run = wandb.init(mode='offline', dir=sys.argv[1], settings=wandb.Settings(silent=True))\n"
        "run.log({'loss': 1.0})\n"
        "started = upload.Upload(Path(run.settings.sync_dir))\n"
        "print(started._process.pid, flush=True)\n"
        "time.sleep(3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    waits = "FINISHED, KILLED = 300.0, "
    source = Path(upload.__file__).read_text()
    assert f"{waits}30.0" in source
    (tmp_path / "short.py").write_text(source.replace(f"{waits}30.0", f"{waits}2.0"))
    write = write.replace("started =", f"upload.__file__ = {str(tmp_path / 'short.py')!r}\nstarted =")
    with wandb_server.taking() as (address, _):
        online(address)
        done = subprocess.run(
            [sys.executable, "-c", write, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL
        group = int(done.stdout)
        assert _ends(group, 120)
    (fragment,) = wandb_files.fragments(tmp_path)
    assert "ended before all was uploaded" in (tmp_path / "wandb" / "upload.log").read_text()
    assert not upload.uploaded(fragment)


def _raise(error: Exception) -> None:
    raise error


def _at_step(patch: pytest.MonkeyPatch, step: int, do: Callable[[], Any]) -> None:
    """Before the listeners of an optimiser step are told of it."""
    from experiments.training.checkpoints import Checkpoint

    checkpoint = Checkpoint.__call__

    def called(self: Checkpoint, module: Pretraining) -> None:
        checkpoint(self, module)
        if module.spent.steps == step:
            do()

    patch.setattr(Checkpoint, "__call__", called)


def _kill_service() -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True, check=False
    )
    pids = [int(pid) for pid in found.stdout.split()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(_runs(pid) for pid in pids):
        time.sleep(0.02)
    return pids


def _runs(pid: int) -> bool:
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()[:1] not in ("", "Z")


def _ends(group: int, seconds: float) -> bool:
    """Whether every process of the upload is gone by then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


def _end_upload(folder: Path) -> None:
    """Of a training process that has ended: no test leaves a process behind."""
    found = subprocess.run(
        ["pgrep", "-f", f"upload.py {folder}"], capture_output=True, text=True, check=False
    )
    for pid in found.stdout.split():
        os.killpg(int(pid), signal.SIGKILL)


def _end_uploads() -> None:
    """Those that go on after training: no test leaves a process behind."""
    while upload._running:
        process = upload._running.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
