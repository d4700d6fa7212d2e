"""launcher=inline: trains one run after another in this process."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

from archs.errors import UserError
from experiments.storage.disk import is_full
from experiments.sweeps.launch.driving import tell
from experiments.sweeps.launch.task import Ending, Task
from experiments.sweeps.launch.work import work
from experiments.training.process import CrashedError


class Inline:
    """Starting a task runs it to its end. A user's mistake ends the command at once: no other run is open."""

    def __init__(self) -> None:
        self._ended: dict[Path, Ending] = {}

    def has(self, task: Task) -> bool:
        return False

    def start(self, tasks: Iterable[Task]) -> None:
        """Runs the first task that no other process has taken in the meantime."""
        for task in tasks:
            with task.run.taken() as acquired:
                if acquired and not task.settled:
                    tell(task, task.run.status["state"])
                    self._ended[task.folder] = self._run(task)
                    return

    def _run(self, task: Task) -> Ending:
        try:
            work(task.recipe, task.folder, task.sweep, task.goal)
        except CrashedError as error:
            return Ending(str(error))
        except UserError:
            raise
        except Exception as error:
            if is_full(error):  # the next run would fail in the same way
                raise
            traceback.print_exc()
            return Ending(f"{type(error).__name__}: {error}")
        return Ending("ended", crashed=False)

    def ending(self, task: Task) -> Ending | None:
        return self._ended.pop(task.folder, None)

    def stop(self) -> None:
        """Does nothing: no run is left."""
