"""What a Slurm job does: one worker in a process of its own, saved and requeued when Slurm needs the node.

Slurm's signals reach the worker too, since both are of one process group. On SIGUSR2 (the time limit draws
near, or another job is to have the node) it saves a checkpoint and ends; submitit calls `checkpoint` here.
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

EARLY = 60.0  # seconds by which Slurm may be early in that
LOOK = 0.1  # seconds between looks at the worker
# Exit codes of a worker that a signal stopped: before it could save, and after.
STOPPED = (*(-number for number in STOP_SIGNALS), *(EXITED + number for number in STOP_SIGNALS))
GRACE = 300.0  # seconds in which Slurm does what it told a stopped worker: requeues it, or ends the job
TASKS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NPROCS")


@dataclass
class SlurmTask:
    """Submitted to Slurm, so pickled: words only, no recipe and no code of the user's.

    command: the worker's. log: the file that it writes on, in the run's folder. patience: seconds in which it
    may save. limit: seconds after which Slurm tells it that its time limit draws near.
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
        """Ends the process with the worker's exit code, 128 + N if it was ended by signal N."""
        self.start()
        while not self._ended():
            time.sleep(LOOK)
        if self.code in STOPPED:
            time.sleep(GRACE)  # cut short by `checkpoint`, or by Slurm, which ends or requeues the job
        self._leave()

    def start(self) -> None:
        # Slurm counts from before the setup and the imports; an old one does not tell.
        self.began, self.kept = float(os.environ.get("SLURM_JOB_START_TIME", time.time())), self._keeps()
        to = _to(self.log)
        self.worker = os.posix_spawn(self.command[0], self.command, _environment(), file_actions=to)

    def checkpoint(self) -> DelayedSubmission:
        """Waits until the worker has saved; what is to be submitted again. Called within a signal handler."""
        end, lasted = time.monotonic() + self.patience, time.time() - self.began
        if self.worker is not None:
            while not self._ended() and time.monotonic() < end:
                time.sleep(LOOK)
        if self.code is not None and self.code not in STOPPED:
            self._leave()  # it came to its own end in the meantime: nothing is to be requeued
        if self.worker is not None and self._in_vain(lasted):
            self._give_up(lasted)
        return DelayedSubmission(replace(self))

    def _in_vain(self, lasted: float) -> bool:
        """Whether the time limit ended it, with nothing more than there was: so would the next job's."""
        return lasted > self.limit - EARLY and self._keeps() == self.kept

    def _keeps(self) -> dict[str, int]:
        """What a later job goes on from: checkpoints, by when they were written, and scores there are."""
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
        # No lock is held here, unlike in subprocess: the handler may interrupt this at any place.
        assert self.worker is not None
        if self.code is not None:
            return True
        try:
            done, status = os.waitpid(self.worker, os.WNOHANG)
        except (
            ChildProcessError
        ):  # the look that was interrupted had its code: status.json knows how it ended
            self.code = STOPPED[0]
            return True
        if done:
            self.code = os.waitstatus_to_exitcode(status)
        return bool(done)

    def _leave(self) -> None:
        assert self.code is not None
        sys.exit(self.code if self.code >= 0 else EXITED - self.code)


def _environment() -> dict[str, str]:
    """The job's, with as many threads as it has cores unless the user says otherwise."""
    threads = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", "1")}
    # Lightning would take the job's one task for the number of its own processes.
    return threads | {name: value for name, value in os.environ.items() if name not in TASKS}


def _to(log: str) -> list[tuple[int, ...] | tuple[int, int, str, int, int]]:
    """stdout and stderr at the end of the file."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    opened = (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    return [opened, (os.POSIX_SPAWN_DUP2, 1, 2)]
