"""The processes that train one run together: started, watched, and ended as one."""

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

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.training.health import DivergedError
from experiments.training.process import LOOK_SECONDS, PROCESS, CrashedError
from experiments.training.signals import Stopped, listen, stopped

WORKER = "experiments.training.worker"  # a name: to import it would be a circle, and the process does


def train_together(recipe: Recipe, folder: Path, group: str) -> None:
    """Trains the run in a process a device, all on this machine. One that ends badly ends all.

    The processes also end when this one does, however that ends. Raises UserError for what a process was
    told wrong, CrashedError with how it ended, DivergedError if the loss did, Stopped if they were told to.
    """
    heard: list[int] = []  # signals that ask for an end

    def pass_on(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        for process in processes[:1]:  # which tells the others
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
        if heard:
            raise Stopped(heard[-1])
        tell(recipe, RunFolder(folder), Path(place), failed, processes[failed].returncode)


def shared_environment(devices: int) -> dict[str, str]:
    """What Lightning and torch.distributed read, the same for all; threads are divided."""
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
    """The first process has the terminal; what the others print is kept, and shown if one fails first."""
    numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank), PROCESS: str(rank)}
    command = [sys.executable, "-m", WORKER, str(os.getpid()), str(place), str(folder), group]
    if rank == 0:
        return subprocess.Popen(command, env={**environment, **numbers})
    with (place / f"printed{rank}").open("wb") as printed:
        return subprocess.Popen(command, env={**environment, **numbers}, stdout=printed, stderr=printed)


def first_failure(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Waits: the number of the first process that ended badly, or None once all have ended well."""
    while True:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code:
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(LOOK_SECONDS)


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """One that waits for another in a collective hears nothing less than SIGKILL."""
    killed = [process.kill() for process in processes if process.poll() is None]
    for process in processes:
        process.wait()
    if killed and sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a bar that was killed cannot give the terminal its cursor back


def tell(recipe: Recipe, run: RunFolder, place: Path, rank: int, code: int) -> None:
    """Raises what the process that failed would have raised here, or how it ended."""
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
