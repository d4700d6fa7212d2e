"""Batches built by other processes: the same ones, and nothing of those processes is ever seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from live import children, is_alive, train_command, wait_for_rows, wait_until_gone
from run_files import KilledError, assert_same_to_the_last_bit, rows
from torch.utils.data import DataLoader

from archs import FAMILIES
from archs.batch import Batch
from experiments.data.windows import WindowStream
from experiments.recipe.build import build
from experiments.recipe.recipe import Recipe
from experiments.runs.corpus import corpus_of
from experiments.runs.folder import RunFolder
from experiments.runs.run import quieten
from experiments.training.loader import Building, Loader, Steps
from experiments.training.process import CrashedError
from experiments.training.train import train

Compose = Callable[..., Recipe]
# What counts steps, and what sends a mask along with its batches.
OTHERS = ["system=ernie", "system=unilm", "system=unilmv2", "system=ernie_gen"]
LONG = ["training.log_every=1", "training.checkpoint_every=1000", "budget.amount=900", "training.workers=2"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


@pytest.mark.slow
@pytest.mark.parametrize("recipe_of", [*(f"family={family}" for family in FAMILIES), *OTHERS])
def test_workers_change_no_bit_and_a_run_may_go_on_with_others(
    recipe_of: str, compose: Compose, tmp_path: Path, kill_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = [recipe_of, "training.accumulate=2", "training.log_every=1", "training.checkpoint_every=3"]
    same += ["budget.amount=8", "size.dropout=0.1"]
    before = children(os.getpid())
    train(compose(*same), tmp_path / "alone")
    with monkeypatch.context() as patch:
        kill_at(5)
        with pytest.raises(KilledError):
            train(compose(*same, "training.workers=2"), tmp_path / "killed")
        patch.undo()
    monkeypatch.undo()
    assert children(os.getpid()) == before
    train(compose(*same, "training.workers=1"), tmp_path / "killed")
    assert_same_to_the_last_bit(tmp_path / "alone", tmp_path / "killed")
    assert children(os.getpid()) == before


@dataclass(frozen=True)
class Noting:
    """Builds a batch of four rows and notes who built it."""

    file: Path

    def __call__(self, step: int) -> Batch:
        with self.file.open("a") as file:
            file.write(f"{step} {os.getpid()}\n")
        return Batch.of(torch.full((4, 3), step) + torch.arange(4)[:, None] * 100)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_step_is_built_once_and_its_parts_come_in_order(workers: int, tmp_path: Path) -> None:
    with closing(Loader(Steps(Noting(tmp_path / "built"), accumulate=4), 3, 9, workers)) as loader:
        parts = [part.tokens.tolist() for part in loader]
    assert parts == [[[step + 100 * row] * 3] for step in range(3, 9) for row in range(4)]
    noted = [line.split() for line in (tmp_path / "built").read_text().splitlines()]
    assert sorted(int(step) for step, _ in noted) == list(range(3, 9))
    builders = {int(pid) for _, pid in noted}
    assert builders == {os.getpid()} if workers == 0 else len(builders) == workers
    assert workers == 0 or os.getpid() not in builders


def test_a_loader_that_is_closed_early_leaves_no_process(tmp_path: Path) -> None:
    before = children(os.getpid())  # as the one that watches over what processes share, of an earlier test
    with closing(Loader(Steps(Noting(tmp_path / "built")), 0, 1000, workers=2)) as loader:
        next(iter(loader))
        assert len(children(os.getpid())) == len(before) + 2
    assert children(os.getpid()) == before


def broken_line() -> None:
    raise ConnectionResetError("the line to its builder broke")


class Broken:
    """A batch whose builder is killed while it is handed over."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return broken_line, ()


def broken(step: int) -> Any:
    return Broken()


def test_a_worker_that_ends_while_it_hands_a_batch_over_is_told_of_as_one_that_has_ended() -> None:
    with closing(Loader(Steps(broken), 0, 9, workers=1)) as loader, pytest.raises(CrashedError) as caught:
        next(iter(loader))
    assert "a process that builds batches has ended: the line to its builder broke" in str(caught.value)


def ends_early(step: int) -> Any:
    raise EOFError("a file of the builder's own")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_builder_s_own_error_is_not_told_as_a_worker_s_end(workers: int) -> None:
    with closing(Loader(Steps(ends_early), 0, 9, workers)) as loader, pytest.raises(EOFError) as caught:
        next(iter(loader))
    assert "a file of the builder's own" in str(caught.value)


MODULE = """
import torch
from archs.errors import UserError

calls = 0

def third(tokens, word_starts, special, rng):
    return (torch.rand(tokens.shape, generator=rng) < 0.3) & ~special

def wrong(tokens, word_starts, special, rng):  # but not where the budget is planned
    global calls
    calls += 1
    if calls > 75:
        raise UserError("hides too little; hide more")
    return third(tokens, word_starts, special, rng)
"""


@pytest.fixture
def mine(own_module: Callable[[str], str]) -> str:
    """A user's module of selections."""
    return own_module(MODULE)


@pytest.mark.slow
def test_batches_are_the_same_where_workers_are_started_afresh_as_on_macos(
    compose: Compose, mine: str
) -> None:
    parts = "objective.options.parts"
    recipe = compose(
        "family=encoder_ae",
        "objective=mixture",
        f"~{parts}.prefix",
        f"~{parts}.causal",
        f"{parts}.masked={{name: mlm, options: {{select: {mine}.third}}}}",
        f"{parts}.pair=sop",
        "~objective.options.weights",
        "objective.options.weights={masked: 1, pair: 1}",
    )
    quieten(recipe)
    corpus = corpus_of(recipe)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, recipe.seed)
    steps = Steps(
        Building(build(recipe).objective(corpus.vocabulary, "in_place"), windows, 0, 4), accumulate=2
    )
    afresh = DataLoader(
        steps, batch_size=None, sampler=range(4), num_workers=1, multiprocessing_context="spawn"
    )
    found = list(afresh)
    assert {built[0].part for built in found} == {0, 1}
    for step, built in enumerate(found):
        for one, two in zip(built, steps[step], strict=True):
            assert (one.part, one.totals) == (two.part, two.totals)
            assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one.tensors(), two.tensors(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_mistake_of_a_user_s_is_one_line_whoever_builds(
    workers: int, devices: int, compose: Compose, tmp_path: Path, mine: str
) -> None:
    recipe = compose(
        "family=encoder_ae",
        "budget.amount=900",
        "training.log_every=1",
        f"training.workers={workers}",
        f"training.devices={devices}",
        f"objective.options.select={mine}.wrong",
    )
    done = subprocess.run(
        train_command(recipe, tmp_path / "run"), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == "error: hides too little; hide more"
    assert "Traceback" not in done.stderr
    assert rows(tmp_path / "run"), "it was made in training"


@pytest.fixture
def started(compose: Compose, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A command that trains, well under way in a group of its own, and its workers."""
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            train_command(compose(*LONG), tmp_path / "run"), stderr=said, text=True, start_new_session=True
        )
    workers = []
    try:
        wait_for_rows(process, tmp_path / "run", 3)
        workers = children(process.pid)
        assert len(workers) == 2
        yield process, workers
    finally:
        for pid in filter(is_alive, (process.pid, *workers)):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def last_line(folder: Path) -> str:
    return (folder / "said").read_text().splitlines()[-1]


@pytest.mark.slow
def test_workers_end_with_a_command_that_is_killed_and_it_continues(
    started: tuple[subprocess.Popen[str], list[int]], compose: Compose, tmp_path: Path
) -> None:
    process, workers = started
    process.kill()
    process.wait()
    wait_until_gone(workers)
    train(compose(*LONG), tmp_path / "run")
    train(compose(*LONG, "training.workers=0"), tmp_path / "whole")
    assert_same_to_the_last_bit(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_it_as_one_to_the_command(
    number: signal.Signals, started: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    process, workers = started
    os.killpg(process.pid, number)
    assert process.wait(timeout=120) == 128 + number, (tmp_path / "said").read_text()
    wait_until_gone(workers)
    what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert last_line(tmp_path).startswith(what)
    assert "Traceback" not in (tmp_path / "said").read_text()
    saved = [*(tmp_path / "run" / "checkpoints").glob("*.ckpt")]
    assert len(saved) == (0 if number == signal.SIGINT else 1)


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_command_with_one_line(
    started: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    process, workers = started
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(timeout=120) == 2
    wait_until_gone(workers)
    assert last_line(tmp_path).startswith("error: a process that builds batches has ended: DataLoader worker")
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert RunFolder(tmp_path / "run").is_("failed")
