"""Runs tasks by a launcher: starts those that no process has, retries those that crashed, waits for all.

Several commands may drive one sweep at a time, with the same launcher or with different ones. Each starts
only runs that no process has, and each ends when all runs have ended.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.sweeps.launch.task import Launcher, Task

LOOK = 1.0  # seconds between two looks at the running tasks
PATIENCE = 10.0  # seconds in which the children of a crashed process may end
TELL = 60.0  # seconds between two lines on the progress of all tasks


def drive(tasks: Sequence[Task], launcher: Launcher, retries: int) -> dict[Path, str]:
    """Runs tasks until each is settled or abandoned; returns {folder: reason} of abandoned tasks.

    A task that is settled already is not repeated. retries: how often a crashed task is tried again.
    """
    left = {task.folder: task for task in tasks}
    crashes: Counter[Path] = Counter()
    lost: dict[Path, str] = {}
    last_summary = time.monotonic()
    try:
        while left:
            changed, idle = False, []
            for folder, task in list(left.items()):
                if launcher.has(task):
                    continue
                ending = launcher.ending(task)
                changed |= ending is not None
                if task.settled:
                    _announce(task)
                    del left[folder]
                    continue
                idle.append(task)
                if ending is None or not ending.crashed:
                    continue
                crashes[folder] += 1
                if not ending.final and crashes[folder] <= retries:
                    tell(task, f"{ending.why}; tried again ({crashes[folder]} of {retries})")
                elif reason := _abandon(task, ending.why, crashes[folder]):
                    lost[folder] = reason
                    del left[folder]
                    idle.pop()
            # A generator, so that a run's lock is only looked at while the launcher has room for a run.
            launcher.start(task for task in idle if not task.run.held)
            if left and not changed:
                time.sleep(LOOK)
            if time.monotonic() - last_summary > TELL:
                last_summary = time.monotonic()
                print(_summary(list(left.values()), len(tasks)), file=sys.stderr, flush=True)
    except BaseException:
        launcher.stop()
        raise
    return lost


def tell(task: Task, words: str) -> None:
    """Prints one line about a task on stderr."""
    print(f"{task.label}: {words}", file=sys.stderr, flush=True)


def _announce(task: Task) -> None:
    status = task.run.status
    if status["state"] == "diverged":
        tell(task, f"diverged, which counts as a result: {status['why']}")
    else:
        tell(task, status["state"])


def _summary(left: Sequence[Task], total: int) -> str:
    states = Counter(task.run.status["state"] for task in left)
    words = ", ".join(f"{number} {state}" for state, number in states.items())
    sweep = Path(left[0].recipe.out, left[0].sweep)
    return f"{total - len(left)} of {total} over; {words}; details: pentarch status {sweep}"


def _abandon(task: Task, why: str, crashes: int) -> str | None:
    """Gives a task up and returns the reason; None if another process has the run now, and may finish it.

    status.json gets the state "failed"; but "trained" if the weights exist, since a later command can still
    score them.
    """
    reason = why if crashes == 1 else f"{why}; {crashes} times"
    with task.run.taken(timeout=PATIENCE) as acquired:
        if not acquired:
            tell(task, f"{reason}; another process has it now; waiting for it")
            return None
        if not task.settled:
            state = "trained" if task.run.is_("trained") else "failed"
            task.run.set_status(state, why=reason)
    tell(task, f"failed: {reason}; the others go on, and the same command tries it again")
    return reason
