"""Takes tasks to their end by a launcher: starts what nobody has, tries again what crashed, waits for all.

Several commands may drive one sweep at a time, with one launcher or with several: each starts only runs that
nobody has, and all end when all runs have.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.sweeps.launch.task import Launcher, Task

LOOK = 1.0  # seconds between looks at what is running
PATIENCE = 10.0  # seconds for what a crashed process has left behind to end
TELL = 60.0  # seconds between lines that say how far all is


def drive(tasks: Sequence[Task], launcher: Launcher, retries: int) -> dict[Path, str]:
    """Until every task is settled or given up; the given up, with why. What is done is not repeated."""
    left = {task.folder: task for task in tasks}
    crashes: Counter[Path] = Counter()
    lost: dict[Path, str] = {}
    told = time.monotonic()
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
                elif why := _given_up(task, ending.why, crashes[folder]):
                    lost[folder] = why
                    del left[folder]
                    idle.pop()
            # A generator: whether another has a run is asked only while there is room for one.
            launcher.start(task for task in idle if not task.run.held)
            if left and not changed:
                time.sleep(LOOK)
            if time.monotonic() - told > TELL:
                told = time.monotonic()
                print(_summary(list(left.values()), len(tasks)), file=sys.stderr, flush=True)
    except BaseException:
        launcher.stop()
        raise
    return lost


def tell(task: Task, words: str) -> None:
    """One line on stderr about a task."""
    print(f"{task.label}: {words}", file=sys.stderr, flush=True)


def _announce(task: Task) -> None:
    status = task.run.status
    if status["state"] == "diverged":
        tell(task, f"diverged, which counts: {status['why']}")
    else:
        tell(task, status["state"])


def _summary(left: Sequence[Task], total: int) -> str:
    states = Counter(task.run.status["state"] for task in left)
    words = ", ".join(f"{number} {state}" for state, number in states.items())
    sweep = Path(left[0].recipe.out, left[0].sweep)
    return f"{total - len(left)} of {total} over; {words}; details: pentarch status {sweep}"


def _given_up(task: Task, why: str, crashes: int) -> str | None:
    """Says so in status.json, unless the weights are there: they can be scored by a later command.

    None if another process has the run now: what becomes of it is not known yet.
    """
    told = why if crashes == 1 else f"{why}; {crashes} times"
    with task.run.taken(timeout=PATIENCE) as mine:
        if not mine:
            tell(task, f"{told}; another process has it now, which is waited for")
            return None
        if not task.settled:
            state = "trained" if task.run.is_("trained") else "failed"
            task.run.set_status(state, why=told)
    tell(task, f"failed: {told}; the others go on, and the same command tries it again")
    return told
