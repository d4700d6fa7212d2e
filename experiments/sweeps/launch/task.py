"""One run that is to be done, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder

BUSY = 75  # exit code of a worker whose run another process has: EX_TEMPFAIL of sysexits.h
MISTAKE = 2  # of one that ended with a user's mistake: trying again would end the same


@dataclass(frozen=True)
class Task:
    """A run of a sweep, or a trial of its tuning.

    goal: the state that it is to reach: "trained" for a trial, "done" (scored too) for a run.
    """

    recipe: Recipe
    folder: Path
    sweep: str
    label: str
    goal: Literal["trained", "done"] = "done"

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do, as status.json says."""
        return self.run.settled(self.goal)

    @property
    def command(self) -> list[str]:
        """What another process is given to do: files and words, nothing of this process."""
        words = [sys.executable, "-m", "experiments", "work", str(self.folder.absolute())]
        return [*words, "--group", self.sweep, "--until", self.goal]


@dataclass(frozen=True)
class Ending:
    """How a started task's process ended. crashed: before its run was settled, by no other's doing."""

    why: str
    crashed: bool = True
    final: bool = False  # another try would end the same


class Launcher(Protocol):
    """Where runs are trained. What became of a run is never asked here: status.json says it."""

    def has(self, task: Task) -> bool:
        """Whether the task is queued or running, started by this command or an earlier one."""
        ...

    def start(self, tasks: Iterable[Task]) -> None:
        """Starts as many of the tasks as there is room for. Raises UserError where none can be started."""
        ...

    def ending(self, task: Task) -> Ending | None:
        """How a task ended that this launcher started and has no more; None if it started none."""
        ...

    def stop(self) -> None:
        """Called when the command is interrupted."""
        ...


class LostRunsError(RuntimeError):
    """Runs that crashed more often than they are tried again; told in one line."""

    def __init__(self, lost: dict[Path, str], what: str = "run") -> None:
        told = "; ".join(f"'{folder}': {why}" for folder, why in lost.items())
        several = "s" if len(lost) > 1 else ""
        super().__init__(f"{len(lost)} {what}{several} failed: {told}; the same command tries again")
