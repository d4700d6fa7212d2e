"""Asks Slurm about jobs: which are queued or running, why they wait, and how they ended."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from experiments.training.signals import EXITED

EVERY = 3.0  # seconds between two calls of squeue, each for all jobs together
TIMEOUT = 60.0  # seconds for an answer


@dataclass(frozen=True)
class Queued:
    """A queued or running job, or a task of an array job.

    state: such as PENDING or RUNNING; reason: Slurm's word for why it waits.
    """

    name: str
    state: str
    reason: str


class Queue:
    """The user's jobs in Slurm's queue.

    jobs: {id: job}, with ids as `12` or `12_0`; number: calls of squeue that were answered; answers: whether
    the last one was; refusal: Slurm's message if it was not.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Queued] = {}
        self.number = 0
        self.answers = True
        self.refusal = ""
        self._last_call = -EVERY

    def look(self) -> bool:
        """Calls squeue unless the last call was a moment ago. Returns whether there is a new answer."""
        return time.monotonic() - self._last_call >= EVERY and self.ask()

    def ask(self) -> bool:
        """Calls squeue; returns whether Slurm answered.

        If not, one line on stderr says so, and the last answer stays valid: no job counts as gone.
        """
        done = run_command("squeue", "--me", "--array", "--noheader", "--format=%i|%j|%T|%r")
        self._last_call = time.monotonic()
        if isinstance(done, str):
            if self.answers and self.number:
                print(f"Slurm does not answer ({done}); waiting until it does", file=sys.stderr, flush=True)
            self.refusal, self.answers = done, False
            return False
        if not self.answers and self.number:
            print("Slurm answers again", file=sys.stderr, flush=True)
        rows = [line.split("|", 3) for line in done.stdout.splitlines()]
        self.jobs = {row[0].strip(): Queued(*row[1:]) for row in rows if len(row) == 4}
        self.answers, self.number = True, self.number + 1
        return True


@dataclass(frozen=True)
class Ended:
    """How a job ended, by Slurm, which forgets it after some minutes.

    state: such as COMPLETED or TIMEOUT; code: the exit code as in a shell, 128 + N if signal N ended it.
    """

    state: str
    code: int


def ended(job: str, name: str) -> Ended | None:
    """Returns how the job ended; None if Slurm has forgotten it, or another job has its number now.

    name: the job's name, which is the sweep's.
    """
    done = run_command("scontrol", "--oneliner", "show", "job", job)
    return None if isinstance(done, str) or f" JobName={name} " not in done.stdout else ended_of(done.stdout)


def ended_of(line: str) -> Ended:
    """Parses scontrol's line about a job, as `JobId=12 … JobState=FAILED … ExitCode=1:0 …`."""
    pairs = [word.partition("=") for word in line.split()]
    fields = {name: value for name, _, value in pairs}
    code, _, signal = fields.get("ExitCode", "0:0").partition(":")
    return Ended(fields.get("JobState", "UNKNOWN"), EXITED + int(signal) if int(signal) else int(code))


def partitions() -> list[str]:
    """Returns the names of the cluster's partitions; [] if Slurm does not answer."""
    done = run_command("sinfo", "--noheader", "--format=%R")
    return [] if isinstance(done, str) else list(dict.fromkeys(done.stdout.split()))


def run_command(*command: str) -> subprocess.CompletedProcess[str] | str:
    """Runs one of Slurm's commands; returns the finished process, or if it failed its message in one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} said nothing for {TIMEOUT:g} s"
    if not done.returncode:
        return done
    return words(done.stderr) or f"{command[0]} ended with exit code {done.returncode}"


def words(stderr: str) -> str:
    """Returns the messages of a command of Slurm's in one line, without the command's name."""
    lines = [line.split("error: ", 1)[-1].strip() for line in stderr.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
