"""What Slurm says of jobs: which are queued or running, why they wait, how they ended."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from experiments.training.signals import EXITED

EVERY = 3.0  # seconds between two questions for all jobs together
TIMEOUT = 60.0  # seconds for an answer


@dataclass(frozen=True)
class Queued:
    """A job or an array's task. state: as PENDING or RUNNING; reason: why it waits, as Slurm names it."""

    name: str
    state: str
    reason: str


class Queue:
    """The user's jobs by id, as `12` or `12_0`. number: questions answered; answers: was the last one?"""

    def __init__(self) -> None:
        self.jobs: dict[str, Queued] = {}
        self.number = 0
        self.answers = True
        self.refusal = ""
        self._asked = -EVERY

    def look(self) -> bool:
        """Asks, unless the last answer is fresh. Whether there is a new one."""
        return time.monotonic() - self._asked >= EVERY and self.ask()

    def ask(self) -> bool:
        """Whether Slurm answers now. If not, which is told once, the last answer stands: no job is gone."""
        done = asked("squeue", "--me", "--array", "--noheader", "--format=%i|%j|%T|%r")
        self._asked = time.monotonic()
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
    """How a job ended, as Slurm remembers it for some minutes.

    code: as a shell has it, 128 + N if signal N ended it.
    """

    state: str
    code: int


def ended(job: str, name: str) -> Ended | None:
    """None if Slurm has forgotten it, or knows another of that number."""
    done = asked("scontrol", "--oneliner", "show", "job", job)
    return None if isinstance(done, str) or f" JobName={name} " not in done.stdout else ended_of(done.stdout)


def ended_of(told: str) -> Ended:
    """told: scontrol's line about a job, as `JobId=12 … JobState=FAILED … ExitCode=1:0 …`."""
    pairs = [word.partition("=") for word in told.split()]
    fields = {name: value for name, _, value in pairs}
    code, _, signal = fields.get("ExitCode", "0:0").partition(":")
    return Ended(fields.get("JobState", "UNKNOWN"), EXITED + int(signal) if int(signal) else int(code))


def partitions() -> list[str]:
    done = asked("sinfo", "--noheader", "--format=%R")
    return [] if isinstance(done, str) else list(dict.fromkeys(done.stdout.split()))


def asked(*command: str) -> subprocess.CompletedProcess[str] | str:
    """What a command of Slurm's said; if it could not, its last words in one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} said nothing for {TIMEOUT:g} s"
    if not done.returncode:
        return done
    return words(done.stderr) or f"{command[0]} ended with exit code {done.returncode}"


def words(stderr: str) -> str:
    """In one line, without the name of who speaks."""
    lines = [line.split("error: ", 1)[-1].strip() for line in stderr.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
