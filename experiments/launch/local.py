"""launcher=local: several processes on this machine, each with its share of cores and a GPU of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from archs.errors import UserError
from experiments.launch.config import LocalConfig
from experiments.launch.endings import ending_of
from experiments.launch.machine import memory_free, memory_needed, visible_gpus
from experiments.launch.task import Ending, Task

CORES = 2  # a process, where nothing else says how many processes are wanted
PATIENCE = 60.0  # seconds in which a process that is told to stop may save what it has


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    slot: int


class Local:
    """A slot is a share of the machine; a run has one for as long as its process lives."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.cores = len(os.sched_getaffinity(0))
        self.gpus = visible_gpus()
        self._workers: dict[Path, Worker] = {}
        self._ended: dict[Path, Ending] = {}
        self._checked = False

    @property
    def processes(self) -> int:
        return self.config.processes or len(self.gpus) or max(1, self.cores // CORES)

    def has(self, task: Task) -> bool:
        worker = self._workers.get(task.folder)
        if worker is None:
            return False
        code = worker.process.poll()
        if code is None:
            return True
        del self._workers[task.folder]
        _end_group(worker.process.pid, signal.SIGKILL)  # what it may have left behind
        self._ended[task.folder] = ending_of(code, task.run.log)
        return False

    def start(self, tasks: Iterable[Task]) -> None:
        taken = {worker.slot for worker in self._workers.values()}
        free = [slot for slot in range(self.processes) if slot not in taken]
        for slot, task in zip(free, tasks, strict=False):
            self._check_memory(task)
            task.run.claim(task.recipe)
            with task.run.log.open("ab") as log:
                # A session of its own: what it starts ends with it, and Ctrl-C reaches it through stop().
                process = subprocess.Popen(
                    task.command,
                    stdout=log,
                    stderr=log,
                    env=self._environment(task, slot),
                    start_new_session=True,
                )
            self._workers[task.folder] = Worker(process, slot)

    def ending(self, task: Task) -> Ending | None:
        return self._ended.pop(task.folder, None)

    def stop(self) -> None:
        for worker in self._workers.values():
            _end_group(worker.process.pid, signal.SIGTERM)
        for worker in self._workers.values():
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(PATIENCE)
            _end_group(worker.process.pid, signal.SIGKILL)

    def _environment(self, task: Task, slot: int) -> dict[str, str]:
        """Threads are divided, unless the recipe or the user says how many; so are GPUs."""
        environment = {"OMP_NUM_THREADS": str(max(1, self.cores // self.processes)), **os.environ}
        if self.gpus:
            devices = task.recipe.training.devices
            first = slot * devices
            mine = [self.gpus[(first + number) % len(self.gpus)] for number in range(devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        return environment

    def _check_memory(self, task: Task) -> None:
        """Raises UserError if the least that the processes need is more than is free; asked once."""
        if self._checked:
            return
        self._checked = True
        needed, free = memory_needed(task.recipe), memory_free()
        if self.processes * needed > free:
            raise UserError(
                f"launcher.processes={self.processes} of at least {needed / 1e9:.1f} GB each need "
                f"{self.processes * needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; at most "
                f"{int(free // needed)} fit"
            )


def _end_group(process: int, what: signal.Signals) -> None:
    """To the process and all that it started; each worker leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process, what)
