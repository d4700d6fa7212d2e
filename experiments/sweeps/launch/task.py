"""A task is one run that a launcher shall train; an ending tells how its process ended."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder

BUSY = 75  # exit code of a worker whose run another process has: EX_TEMPFAIL of sysexits.h
MISTAKE = 2  # exit code of a worker that met a user's mistake: another try would end in the same way


@dataclass(frozen=True)
class Task:
    """A run of a sweep, or a trial of its tuning.

    goal: the state to reach: "trained" for a trial, "done" (scored too) for a run.
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
        """Whether nothing is left to do, by status.json."""
        return self.run.settled(self.goal)

    @property
    def command(self) -> list[str]:
        """The command of a worker process: only paths and words, so that it works on another machine too."""
        words = [sys.executable, "-m", "experiments", "work", str(self.folder.absolute())]
        return [*words, "--group", self.sweep, "--until", self.goal]


@dataclass(frozen=True)
class Ending:
    """How the process of a started task ended.

    why: the reason, in words; crashed: whether it failed by itself before its run was settled, which counts
    as a try; final: whether another try would end in the same way.
    """

    why: str
    crashed: bool = True
    final: bool = False


class Launcher(Protocol):
    """Trains runs somewhere. It knows only processes: the state of a run is in status.json alone."""

    def has(self, task: Task) -> bool:
        """Returns whether the task is queued or running, started by this command or an earlier one."""
        ...

    def start(self, tasks: Iterable[Task]) -> None:
        """Starts as many of the tasks as there is room for. Raises UserError where none can be started."""
        ...

    def ending(self, task: Task) -> Ending | None:
        """Returns how a task's process ended, once; None if it runs, or if this launcher started none."""
        ...

    def stop(self) -> None:
        """Ends what this command started, if that cannot go on without it. Called on an interrupt."""
        ...


class LostRunsError(RuntimeError):
    """Runs that crashed more often than they are retried. The message is one line."""

    def __init__(self, lost: dict[Path, str], what: str = "run") -> None:
        reasons = "; ".join(f"'{folder}': {why}" for folder, why in lost.items())
        several = "s" if len(lost) > 1 else ""
        super().__init__(f"{len(lost)} {what}{several} failed: {reasons}; the same command tries again")
