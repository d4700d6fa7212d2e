"""Measuring for benchmarks: works in turns in one process, medians with the middle half, the machine."""

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
    """The median of measurements and their middle half, from `low` to `high`."""

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
    """Seconds of each work in each round, in turns A B C A B C …, so that a slow minute hits all of them.

    Each work first runs `warm_up` times, untimed. A turn is `block` calls in a row, and its seconds are the
    mean of one call: so a GPU gets the next call while it works on the last. A block begins with one untimed
    call.
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
    """Seconds of a call, until a GPU has finished its work too."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held, on the GPU or as resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss starts at the memory of the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast ours is, from pairs of neighbouring measurements."""
    return Spread.of([slow / fast for fast, slow in zip(ours, theirs, strict=True)])


def machine() -> str:
    """The last line of a benchmark: the date, the hardware and the versions."""
    hardware = f"{processor()} ({torch.get_num_threads()} threads)"
    if torch.cuda.is_available():
        hardware = f"{torch.cuda.get_device_name()}, {hardware}"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, {versions}"


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
