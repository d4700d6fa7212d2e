"""Trains one run in several processes: starts them, watches them, and ends all when one fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.training.health import DivergedError
from experiments.training.process import LOOK_SECONDS, PROCESS, CrashedError
from experiments.training.signals import Stopped, listen, stopped

WORKER = "experiments.training.worker"  # a name, since importing it would be circular


def train_together(recipe: Recipe, folder: Path, group: str) -> None:
    """Trains the run in one process for each device, all on this machine.

    If one fails, the others are ended. All end when this process does, however it ends. Raises UserError if a
    process met a user's mistake, CrashedError if one crashed, DivergedError if the loss diverged, and Stopped
    if a signal asked for an end.
    """
    received: list[int] = []  # signals that ask for an end

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in processes[:1]:  # the first process tells the others
            process.send_signal(number)

    with tempfile.TemporaryDirectory() as place:
        recipe.to_yaml(Path(place) / "recipe.yaml")
        processes: list[subprocess.Popen[bytes]] = []
        restore = listen(pass_on)
        try:
            environment = shared_environment(recipe.training.devices)
            for rank in range(recipe.training.devices):
                processes.append(start(rank, Path(place), folder, group, environment))
            failed = first_failure(processes)
        finally:
            end(processes)
            restore()
        if failed is None:
            return
        if received:
            raise Stopped(received[-1])
        raise_failure(recipe, RunFolder(folder), Path(place), failed, processes[failed].returncode)


def shared_environment(devices: int) -> dict[str, str]:
    """Returns the environment that all processes share, for Lightning and torch.distributed.

    Each process gets an equal share of the threads.
    """
    import torch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(devices),
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // devices)),
    }


def start(
    rank: int, place: Path, folder: Path, group: str, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Starts the process of number `rank`.

    The first one prints to the terminal. Each other prints to a file, which is shown if it fails first.
    """
    numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank), PROCESS: str(rank)}
    command = [sys.executable, "-m", WORKER, str(os.getpid()), str(place), str(folder), group]
    if rank == 0:
        return subprocess.Popen(command, env={**environment, **numbers})
    with (place / f"printed{rank}").open("wb") as printed:
        return subprocess.Popen(command, env={**environment, **numbers}, stdout=printed, stderr=printed)


def first_failure(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Waits, and returns the number of the first process that failed, or None once all have ended well."""
    while True:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code:
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(LOOK_SECONDS)


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kills all processes that still run, and waits until they have ended.

    By SIGKILL, since a process that waits for another in a collective reacts to nothing less.
    """
    killed = [process.kill() for process in processes if process.poll() is None]
    for process in processes:
        process.wait()
    if killed and sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a bar that was killed cannot give the terminal its cursor back


def raise_failure(recipe: Recipe, run: RunFolder, place: Path, rank: int, code: int) -> NoReturn:
    """Raises the error that process `rank` met, or CrashedError that tells how it ended.

    code: its exit code; place: folder of the files that the processes leave for this one.
    """
    if run.is_("diverged"):
        raise DivergedError(run.status["why"])
    if number := stopped(code):
        raise Stopped(number)
    mistake = place / f"mistake{rank}"
    if mistake.exists():
        raise UserError(mistake.read_text())
    if rank > 0 and code > 0:
        sys.stderr.write((place / f"printed{rank}").read_text(errors="replace"))
    how = f"ended with exit code {code}, its message is above"
    if code < 0:
        how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        how += ", as when memory runs out" if -code == signal.SIGKILL else ""
    message = f"process {rank + 1} of {recipe.training.devices} of '{recipe.label}' seed {recipe.seed} {how}"
    with run.alone():
        run.set_status("failed", why=message)
    raise CrashedError(f"{message}; the others were ended too; the same command continues")
