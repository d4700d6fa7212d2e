"""launcher=local: trains runs in several processes of this machine, each with its share of cores and GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from archs.errors import UserError
from experiments.sweeps.launch.config import LocalConfig
from experiments.sweeps.launch.endings import ending_of
from experiments.sweeps.launch.machine import cores, memory_free, memory_needed, visible_gpus
from experiments.sweeps.launch.task import Ending, Task
from experiments.training.signals import listen

CORES = 2  # for each process, where neither launcher.processes nor GPUs decide the number of processes
PATIENCE = 60.0  # seconds in which a process may save after it is told to stop


@dataclass
class Worker:
    """The process that trains a run, and its slot."""

    process: subprocess.Popen[bytes]
    slot: int


class Local:
    """Divides the machine into slots. A run has one slot for as long as its process lives."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.cores = cores()
        self.gpus = visible_gpus()
        self._workers: dict[Path, Worker] = {}
        self._ended: dict[Path, Ending] = {}
        self._began = False

    def has(self, task: Task) -> bool:
        worker = self._workers.get(task.folder)
        if worker is None:
            return False
        code = worker.process.poll()
        if code is None:
            return True
        del self._workers[task.folder]
        _end_group(worker.process.pid, signal.SIGKILL)  # children that it may have left
        self._ended[task.folder] = ending_of(code, task.run.log)
        return False

    def start(self, tasks: Iterable[Task]) -> None:
        if not self._began:
            tasks = list(tasks)
            self._check_memory(tasks)
            self._began = True
            # Signals act like Ctrl-C, so that `stop` is called and the workers save. Without this, SIGTERM
            # would end the command at once.
            listen(_interrupt)
        for task in tasks:
            taken = {worker.slot for worker in self._workers.values()}
            free = [slot for slot in range(self.processes(task)) if slot not in taken]
            if not free:
                return
            self._begin(task, free[0])

    def processes(self, task: Task) -> int:
        """Returns how many runs like this may be trained at a time. Raises UserError if GPUs are too few."""
        devices, gpus = task.recipe.training.devices, len(self._gpus(task))
        if not gpus:
            return self.config.processes or max(1, self.cores // CORES)
        processes = self.config.processes or max(1, gpus // devices)
        # Runs on one GPU may share it; a run on several GPUs shares none.
        if devices > 1 and processes * devices > gpus:
            raise UserError(
                f"{processes} processes with training.devices={devices} need {processes * devices} GPUs, and "
                f"{gpus} are here; lower launcher.processes or training.devices"
            )
        return processes

    def _gpus(self, task: Task) -> list[str]:
        return [] if task.recipe.training.accelerator == "cpu" else self.gpus

    def _begin(self, task: Task, slot: int) -> None:
        task.run.claim(task.recipe)
        with task.run.log.open("ab") as log:
            # In a session of its own, so that its children can be ended with it. Ctrl-C does not reach it
            # there: `stop` passes it on.
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
        """Returns a worker's environment: its GPUs, and its share of the threads.

        A number of threads that the user or the recipe sets is kept.
        """
        environment = {"OMP_NUM_THREADS": str(max(1, self.cores // self.processes(task))), **os.environ}
        if gpus := self._gpus(task):
            devices = task.recipe.training.devices
            chosen = [gpus[(slot * devices + number) % len(gpus)] for number in range(devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
        return environment

    def _check_memory(self, tasks: list[Task]) -> None:
        """Raises UserError if even the least memory that the processes need together is not free."""
        if not tasks:
            return
        needed, free = memory_needed(tasks[0].recipe), memory_free()
        processes = min(self.processes(tasks[0]), len(tasks))
        if processes * needed > free:
            raise UserError(
                f"{processes} processes of at least {needed / 1e9:.1f} GB each need "
                f"{processes * needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free, for "
                f"{int(free // needed)}: lower launcher.processes or size"
            )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_group(process: int, by: signal.Signals) -> None:
    """Sends a signal to the process and to all that it started: each worker leads a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process, by)
