"""The program of a Slurm job: it runs one worker, and is saved and requeued when Slurm needs the node.

Slurm's signals reach the worker too, since it is in the job's process group. On SIGUSR2 (the time limit is
near, or another job gets the node) the worker saves a checkpoint and ends, and submitit calls `checkpoint`
here.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from submitit.helpers import DelayedSubmission

from experiments.sweeps.launch.task import MISTAKE
from experiments.training.signals import EXITED, STOP_SIGNALS

EARLY = 60.0  # seconds by which Slurm's signal may come before the announced time
LOOK = 0.1  # seconds between two looks at the worker
# Exit codes of a worker that a signal stopped: before it could save, and after.
STOPPED = (*(-number for number in STOP_SIGNALS), *(EXITED + number for number in STOP_SIGNALS))
GRACE = 300.0  # seconds in which Slurm requeues or ends the job of a stopped worker
TASKS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NPROCS")


@dataclass
class SlurmTask:
    """One task of an array job. Submitting pickles it, so it holds no recipe and no code of the user's.

    command: the worker's; log: the file in the run's folder that the worker prints to; patience: seconds in
    which it may save; limit: seconds after which Slurm announces the time limit; worker: its process id;
    code: its exit code once it has ended; began: when the job began; kept: checkpoints and scores then.
    """

    command: list[str]
    log: str
    patience: float
    limit: float
    worker: int | None = field(default=None, init=False)
    code: int | None = field(default=None, init=False)
    began: float = field(default=0.0, init=False)
    kept: dict[str, int] = field(default_factory=dict, init=False)

    def __call__(self) -> None:
        """Runs the worker, and exits with its exit code, or 128 + N if signal N ended it."""
        self.start()
        while not self._ended():
            time.sleep(LOOK)
        if self.code in STOPPED:
            time.sleep(GRACE)  # ended early by `checkpoint`, or by Slurm, which ends or requeues the job
        self._exit()

    def start(self) -> None:
        """Starts the worker."""
        # Slurm's clock starts before the setup and the imports. Old versions do not set this variable.
        self.began = float(os.environ.get("SLURM_JOB_START_TIME", time.time()))
        self.kept = self._saved_files()
        actions = _print_to(self.log)
        self.worker = os.posix_spawn(self.command[0], self.command, _environment(), file_actions=actions)

    def checkpoint(self) -> DelayedSubmission:
        """Waits until the worker has saved; returns the task to requeue. Called inside a signal handler.

        Exits instead if the worker has ended by itself, or if another job would come no further.
        """
        end, lasted = time.monotonic() + self.patience, time.time() - self.began
        if self.worker is not None:
            while not self._ended() and time.monotonic() < end:
                time.sleep(LOOK)
        if self.code is not None and self.code not in STOPPED:
            self._exit()  # the worker ended by itself in the meantime: there is nothing to requeue
        if self.worker is not None and self._saved_nothing(lasted):
            self._give_up(lasted)
        return DelayedSubmission(replace(self))

    def _saved_nothing(self, lasted: float) -> bool:
        """Returns whether the whole time limit brought no new checkpoint or score, as the next would not."""
        return lasted > self.limit - EARLY and self._saved_files() == self.kept

    def _saved_files(self) -> dict[str, int]:
        """Returns what a later job can resume from: {checkpoint: its time} and {file of scores: 0}."""
        run = Path(self.log).parent
        checkpoints = {str(file): file.stat().st_mtime_ns for file in run.glob("checkpoints/*.ckpt")}
        return checkpoints | {str(file): 0 for file in run.glob("scores/*.parquet")}

    def _give_up(self, lasted: float) -> None:
        with Path(self.log).open("a") as log:
            print(
                f"error: launcher.time was too little to finish anything that a later job could go on from "
                f"(told to stop after {lasted / 60:.0f} minutes); raise it",
                file=log,
            )
        sys.exit(MISTAKE)

    def _ended(self) -> bool:
        # By os.waitpid, since the signal handler may interrupt this anywhere: subprocess would hold a lock.
        assert self.worker is not None
        if self.code is not None:
            return True
        try:
            done, status = os.waitpid(self.worker, os.WNOHANG)
        except ChildProcessError:
            # The call that the signal interrupted took the exit code. status.json has the run's state anyway.
            self.code = STOPPED[0]
            return True
        if done:
            self.code = os.waitstatus_to_exitcode(status)
        return bool(done)

    def _exit(self) -> None:
        assert self.code is not None
        sys.exit(self.code if self.code >= 0 else EXITED - self.code)


def _environment() -> dict[str, str]:
    """Returns the job's environment, with a thread for each of its cores if the user sets no number."""
    threads = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", "1")}
    # Without these, since Lightning would take the job's number of tasks for that of its own processes.
    return threads | {name: value for name, value in os.environ.items() if name not in TASKS}


def _print_to(log: str) -> list[tuple[int, ...] | tuple[int, int, str, int, int]]:
    """Returns the actions of posix_spawn that append stdout and stderr to a file."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    opened = (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    return [opened, (os.POSIX_SPAWN_DUP2, 1, 2)]
