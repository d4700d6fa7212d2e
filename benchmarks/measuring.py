"""How benchmarks measure: in turns in one process, medians with the middle half, and on which machine."""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch


@dataclass(frozen=True)
class Spread:
    """The median of some measurements and their middle half."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, statistics.median(values), high)

    def shown(self, form: str = ",.0f") -> str:
        return f"{self.median:{form}} ({self.low:{form}}-{self.high:{form}})"


def in_turns(
    work: Sequence[Callable[[], object]], rounds: int, warm_up: int = 3, block: int = 1
) -> list[list[float]]:
    """Seconds of each work in each round: A B C A B C …, so that a slow minute of the machine is shared.

    Each is first run `warm_up` times, untimed. A turn is `block` times in a row, and its seconds are one's
    share of them: a GPU is asked for the next while it does the last. Before a block it does one untimed.
    """
    for each in work:
        for _ in range(warm_up):
            each()
    seconds: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):
        for each, taken in zip(work, seconds, strict=True):
            if block > 1:
                each()
            taken.append(timed(lambda each=each: [each() for _ in range(block)]) / block)
    return seconds


def timed(work: Callable[[], object]) -> float:
    """Seconds, until what was asked of a GPU is done too."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that this process has held on the GPU, or as resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    told = Path("/proc/self/status")
    if told.exists():  # and not ru_maxrss, which on Linux begins at what the parent process held
        line = next(line for line in told.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast ours is, by the seconds of neighbours in time."""
    return Spread.of([slow / fast for fast, slow in zip(ours, theirs, strict=True)])


def machine() -> str:
    """For the last line of a table: the date, what it ran on, and versions."""
    on = f"{processor()} ({torch.get_num_threads()} threads)"
    if torch.cuda.is_available():
        on = f"{torch.cuda.get_device_name()}, {on}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {on}, torch {torch.__version__}, Python {platform.python_version()}"
    )


def processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
