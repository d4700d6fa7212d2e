"""How a job ended, told from what Slurm says of it: no Slurm is needed for that."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest

from experiments.recipe.recipe import Recipe
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.endings import ending_of
from experiments.sweeps.launch.slurm.queue import ended_of
from experiments.sweeps.launch.task import Ending, Task

LINE = "JobId=12 JobName=five_families UserId=me(1) JobState=FAILED Reason=None Restarts=0 ExitCode={}"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("0:9", "ended by SIGKILL, as by one that ran out of memory"),
        ("137:0", "ended by SIGKILL, as by one that ran out of memory"),
        ("0:53", "ended by signal 53"),
        ("255:0", "it said nothing (exit code 255"),
        ("1:0", "it said nothing (exit code 1"),
    ],
)
def test_each_exit_code_of_slurms_is_told_in_words(told: str, why: str, tmp_path: Path) -> None:
    ending = ending_of(ended_of(LINE.format(told)).code, tmp_path / "none")
    assert why in ending.why
    assert ending.crashed
    assert not ending.final


@pytest.mark.parametrize("told", ["143:0", "0:15", f"{128 + signal.SIGUSR2}:0", "130:0"])
def test_a_job_that_was_told_to_stop_has_not_crashed(told: str, tmp_path: Path) -> None:
    assert not ending_of(ended_of(LINE.format(told)).code, tmp_path / "none").crashed


class CancelledWhileAnotherHasIt:
    """Its one task ends for good, but another process has the run by then, and takes it to its end."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.another = ExitStack()
        self.looks = 0

    def has(self, task: Task) -> bool:
        self.looks += 1
        if self.looks == 5:
            task.run.set_status("done")
            self.another.close()
        return False

    def start(self, tasks: Iterable[Task]) -> None:
        assert not list(tasks)

    def ending(self, task: Task) -> Ending | None:
        if self.looks > 1:
            return None
        assert self.another.enter_context(task.run.taken())
        return Ending("was cancelled", final=True)

    def stop(self) -> None:
        pass


def test_a_run_that_another_process_has_is_not_given_up_but_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.sweeps.launch.driving.PATIENCE", 0.1)
    monkeypatch.setattr("experiments.sweeps.launch.driving.LOOK", 0.01)
    task = Task(Recipe(family="decoder_ar", objective="causal"), tmp_path / "arm" / "seed0", "mine", "arm")
    assert drive([task], CancelledWhileAnotherHasIt(task), retries=0) == {}
    assert task.run.is_("done")
