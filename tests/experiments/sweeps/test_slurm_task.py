"""What a Slurm job does with its worker: no Slurm is needed for that."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

import pytest
from slurm_cluster import until

from experiments.sweeps.launch.slurm.task import SlurmTask
from experiments.sweeps.launch.task import BUSY, MISTAKE

SLEEPS = "import time; print('began', flush=True); time.sleep(60)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "scores").mkdir()
    return tmp_path / "log.txt"


def started(code: str, log: Path, limit: float = 3600.0) -> SlurmTask:
    task = SlurmTask([sys.executable, "-c", code], str(log), 10.0, limit)
    task.start()
    return task


def stop(task: SlurmTask, log: Path) -> None:
    """As Slurm does: the worker hears the signal too."""
    until(lambda: "began" in log.read_text(), "the worker runs")
    assert task.worker is not None
    os.kill(task.worker, signal.SIGUSR2)


@pytest.mark.parametrize(
    ("ends", "code"), [("sys.exit(75)", BUSY), ("os.kill(os.getpid(), 9)", 137), ("", 0)]
)
def test_a_job_ends_as_its_worker_did(ends: str, code: int, log: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        SlurmTask([sys.executable, "-c", f"import os, sys; {ends}"], str(log), 10.0, 3600.0)()
    assert ended.value.code == code


def test_a_worker_that_was_told_to_stop_is_submitted_again_in_words_alone(log: Path) -> None:
    task = started(SLEEPS, log)
    stop(task, log)
    again = task.checkpoint().function
    assert task.code == -signal.SIGUSR2
    assert isinstance(again, SlurmTask)
    assert (again.command, again.log, again.worker, again.code) == (task.command, str(log), None, None)
    assert len(pickle.dumps(again)) < 1000


def test_a_worker_that_is_over_is_not_submitted_again(log: Path) -> None:
    task = started("print('began')", log)
    with pytest.raises(SystemExit) as ended:
        task.checkpoint()
    assert ended.value.code == 0


def test_a_job_whose_whole_time_finished_nothing_is_a_mistake_and_says_so(log: Path) -> None:
    task = started(SLEEPS, log, limit=3480.0)
    task.began -= 3470
    stop(task, log)
    with pytest.raises(SystemExit) as ended:
        task.checkpoint()
    assert ended.value.code == MISTAKE
    assert "launcher.time" in log.read_text().splitlines()[-1]


def test_a_job_that_another_takes_the_node_of_goes_on_though_half_its_time_finished_nothing(
    log: Path,
) -> None:
    task = started(SLEEPS, log, limit=3480.0)
    task.began -= 2100
    stop(task, log)
    assert isinstance(task.checkpoint().function, SlurmTask)


def test_a_job_whose_time_finished_one_more_task_goes_on(log: Path) -> None:
    task = started(SLEEPS, log, limit=0.0)
    (log.parent / "scores" / "party.parquet").touch()
    stop(task, log)
    assert isinstance(task.checkpoint().function, SlurmTask)


def test_threads_are_as_many_as_the_job_has_cores_unless_said_otherwise(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = "import os; print('threads', os.environ['OMP_NUM_THREADS'], 'SLURM_NTASKS' in os.environ)"
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    for said, threads in ((None, "3"), ("2", "2")):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if said:
            monkeypatch.setenv("OMP_NUM_THREADS", said)
        with pytest.raises(SystemExit):
            SlurmTask([sys.executable, "-c", tells], str(log), 10.0, 3600.0)()
        assert log.read_text().splitlines()[-1] == f"threads {threads} False"
