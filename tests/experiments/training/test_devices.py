"""One run on several devices: the same loss, the same weights, and processes that end as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from live import children, is_alive, train_command
from run_files import assert_same_to_the_last_bit, rows, weights

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json, read_lines
from experiments.training.process import PROCESS
from experiments.training.processes import shared_environment
from experiments.training.train import train

Compose = Callable[..., Recipe]
FAMILIES = {
    name: [f"family={name}"]
    for name in ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")
}
# Masked language modelling and, in turn, the same beside a pair's head: a step leaves some parameters alone.
PAIR_IN_TURN = [
    "family=encoder_ae",
    "objective=mixture",
    "~objective.options.parts.prefix",
    "~objective.options.parts.causal",
    "objective.options.parts.pair=sop",
    "~objective.options.weights",
    "objective.options.weights={masked: 1, pair: 1}",
]
# Weights of two names in an encoder-decoder of shared stacks; products that are rounded to eight bits.
OTHERS = {
    "in_turn": PAIR_IN_TURN,
    "shared": ["family=encoder_decoder_shared"],
    "bf16": ["family=decoder_ar", "training.precision=bf16-mixed"],
}
TOGETHER = {
    "ddp": ["training.devices=2"],
    "ddp_in_parts": ["training.devices=2", "training.accumulate=2"],
    "fsdp2": ["training.devices=2", "training.strategy=fsdp2"],
}
ONE_BY_ONE = [sys.executable, str(Path(__file__).with_name("several_runs.py"))]
LOSS = 2e-5  # nats, of some 8: sums of floats in another order, after ten steps
# Adam divides by the size of gradients: where one is nothing but such sums' error, so is its whole step. Ten
# steps at learning rates up to 2e-3 move a weight by some 1e-2.
WEIGHT = 1e-3
ROUNDED = 50  # times as far apart they may be where products are rounded


def train_in_turn(folder: Path, recipes: dict[str, Recipe], processes: int) -> None:
    """All in one start of the processes, for their imports take longer than these runs."""
    folder.mkdir()
    for name, recipe in recipes.items():
        recipe.to_yaml(folder / f"{name}.yaml")
    shared = shared_environment(processes)
    numbers = [{name: str(rank) for name in ("RANK", "LOCAL_RANK", PROCESS)} for rank in range(processes)]
    started = [
        subprocess.Popen([*ONE_BY_ONE, str(folder)], env=shared | own, stderr=subprocess.PIPE, text=True)
        for own in numbers
    ]
    said = [process.communicate(timeout=280)[1] for process in started]
    assert [process.returncode for process in started] == [0] * processes, said


def assert_as_one_device(one: Path, several: Path, looser: float = 1) -> None:
    left, right = rows(one), rows(several)
    for key in ("step", "tokens", "targets", "learning_rate"):
        assert [row[key] for row in right] == [row[key] for row in left], key
    for key in sorted({key for row in left for key in row if "loss" in key}):
        found = [(row[key], other[key]) for row, other in zip(left, right, strict=True) if key in row]
        assert [b for _, b in found] == pytest.approx([a for a, _ in found], abs=LOSS * looser), key
    first, second = weights(one), weights(several)
    assert {name: weight.shape for name, weight in second.items()} == {
        name: weight.shape for name, weight in first.items()
    }
    for name, weight in first.items():
        assert torch.allclose(second[name], weight, rtol=0, atol=WEIGHT * looser), name
        assert (second[name] - weight).abs().mean() < WEIGHT * looser / 100, name
    assert read_json(several / "audit.json")["parameters"] == read_json(one / "audit.json")["parameters"]


@pytest.mark.slow
def test_two_processes_train_every_family_as_one_device_does(compose: Compose, tmp_path: Path) -> None:
    # A clip that is always at work: it must be of the norm of all gradients together.
    same = ["training.log_every=1", "budget.amount=10", "training.clip=0.05"]
    trained = {name: compose(*chosen, *same) for name, chosen in (FAMILIES | OTHERS).items()}
    together = {
        f"{name}-{way}": compose(*chosen, *same, *how)
        for name, chosen in (FAMILIES | OTHERS).items()
        for way, how in TOGETHER.items()
        if name in FAMILIES or way != "ddp_in_parts"
    }
    less_kept = "training.checkpoint_activations=true"
    for name, way in (("in_turn", "ddp"), ("shared", "fsdp2"), ("encoder_decoder", "fsdp2")):
        chosen = (FAMILIES | OTHERS)[name]
        together[f"{name}-{way}_checkpointed"] = compose(*chosen, *same, *TOGETHER[way], less_kept)
    for name, recipe in trained.items():
        train(recipe, tmp_path / name)
    train_in_turn(tmp_path / "together", together, 2)
    for name in together:
        alone, looser = name.partition("-")[0], ROUNDED if name.startswith("bf16") else 1
        assert_as_one_device(tmp_path / alone, tmp_path / "together" / name, looser)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("way", TOGETHER)
def test_two_gpus_train_as_one_does(way: str, compose: Compose, tmp_path: Path) -> None:
    same = ["training.log_every=1", "budget.amount=10", "training.accelerator=gpu"]
    train(compose(*same), tmp_path / "one")
    train(compose(*same, *TOGETHER[way]), tmp_path / "two")
    assert_as_one_device(tmp_path / "one", tmp_path / "two")


@pytest.fixture
def killed_at(tmp_path: Path) -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """Starts a command, kills one of its processes at that row, and gives its exit code and last lines."""
    seen: list[int] = []

    def act(command: list[str], folder: Path, row: int, which: int | None) -> tuple[int, list[str]]:
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said)
        deadline = time.monotonic() + 280
        while len(read_lines(folder / "metrics.jsonl")) < row:
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        trainers = children(process.pid)
        assert len(trainers) == 2
        seen.extend([process.pid, *trainers])
        os.kill(process.pid if which is None else trainers[which], signal.SIGKILL)
        process.wait(timeout=120)
        until = time.monotonic() + 120
        while any(is_alive(pid) for pid in trainers):
            assert time.monotonic() < until, "a process was left behind"
            time.sleep(0.02)
        lines = (tmp_path / "said").read_text().splitlines()
        return process.returncode, [line for line in lines if "of budget" not in line and "gate:" not in line]

    yield act
    for pid in filter(is_alive, seen):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")
def test_a_run_on_two_devices_ends_with_any_of_its_processes_and_resumes_to_the_last_bit(
    compose: Compose, tmp_path: Path, killed_at: Callable[..., tuple[int, list[str]]]
) -> None:
    recipe = compose(
        *PAIR_IN_TURN,
        *TOGETHER["fsdp2"],
        "training.accumulate=2",
        "training.checkpoint_every=4",
        "training.log_every=1",
        "budget.amount=30",
        "size.dropout=0.1",
    )
    train(recipe, tmp_path / "whole")
    command = train_command(recipe, tmp_path / "killed")
    for row, which in ((6, 1), (12, 0)):
        code, lines = killed_at(command, tmp_path / "killed", row, which)
        assert code == 2
        assert len(lines) == 1, lines
        assert lines[0].startswith(
            f"error: process {which + 1} of 2 of 'encoder_ae-mixture' seed 0 was ended"
        )
        assert "the same command continues" in lines[0]
        assert RunFolder(tmp_path / "killed").is_("failed")
    code, lines = killed_at(command, tmp_path / "killed", 18, None)  # the one that started them
    assert (code, lines) == (-signal.SIGKILL, [])
    train(recipe, tmp_path / "killed")
    assert_same_to_the_last_bit(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["training.strategy=fsdp2"], "fsdp2 divides the weights over training.devices, which is 1"),
        ([*TOGETHER["fsdp2"], "training.precision=16-mixed"], "allows 32-true and bf16-mixed"),
    ],
)
def test_what_cannot_be_divided_is_one_line(asked: list[str], told: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=told):
        compose(*asked)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_mistake_that_every_process_makes_is_told_once(compose: Compose, tmp_path: Path) -> None:
    recipe = compose(*TOGETHER["ddp"], "training.accelerator=gpu")
    done = subprocess.run(
        train_command(recipe, tmp_path / "run"), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 2
    refused = "error: training.accelerator=gpu with training.devices=2 is not available here"
    assert done.stderr.startswith(refused)
    assert done.stderr.count("\n") == 1
