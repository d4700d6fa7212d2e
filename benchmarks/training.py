"""The cost of one training step: a family of ours, its peers and the machine's limit, in turns."""

from __future__ import annotations

import multiprocessing
import statistics
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import torch

from benchmarks.limit import Product, Products, recorded
from benchmarks.measuring import in_turns, peak_memory
from benchmarks.peers import PEERS, Peer, Theirs, builder
from benchmarks.workload import Ours, Shape, batches

OURS = "pentarch"
LIMIT, LIMIT_OF_TORCH, RATE = "limit", "limit of torch.mm", "the card's rate"
LARGE = Product(1, 8192, 8192, 8192)  # the product that measures a card's rate
SMALL = Shape(layers=2, width=64, heads=2, vocabulary=512, rows=2, length=32)


@dataclass(frozen=True)
class Settings:
    """How to measure. autocast: use bfloat16. alone: neither peers nor limit. memory: measure it too."""

    shape: Shape
    device: torch.device
    rounds: int
    compiled: bool = False
    packed: bool = False
    autocast: bool = False
    alone: bool = False
    memory: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.autocast else torch.float32

    @property
    def warm_up(self) -> int:
        """Untimed steps. If compiled, one for each batch: another number of targets needs another graph."""
        return 8 if self.compiled else 3

    @property
    def block(self) -> int:
        """Steps in a row in each turn."""
        return 8 if self.device.type == "cuda" else 1

    def ours(self, family: str) -> Ours:
        return Ours(family, self.shape, self.compiled, self.packed, self.device, self.autocast)

    def theirs(self, build: Callable[[Shape], Peer], family: str) -> Theirs:
        ready = batches(family, self.shape, self.packed, self.device)
        return Theirs(build, self.shape, ready, self.compiled, self.autocast)


@dataclass(frozen=True)
class Row:
    """A system's seconds in each round and the work of one step.

    tokens: of raw text. targets: supervised ones. flops: what ours needs for the step. A limit's seconds are
    the least time of those FLOPs; it has no parameters. memory: the most bytes beyond those that the process
    held before the model was built. missing: why a peer is not measured; it has no seconds.
    """

    family: str
    system: str
    seconds: list[float]
    tokens: int
    targets: float
    flops: float
    parameters: int | None = None
    memory: int | None = None
    missing: str = ""


@dataclass
class Measured:
    """The measured systems of a family, ours first."""

    settings: Settings
    family: str
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        held = self.peaks() if self.settings.memory else {}
        ours = self.settings.ours(self.family)
        systems: dict[str, Ours | Theirs] = {OURS: ours}
        missing = {}
        for name in () if self.settings.alone else PEERS[self.family]:
            try:
                build = builder(self.family, name)
            except ImportError as error:
                missing[name] = str(error)
            else:
                systems[name] = self.settings.theirs(build, self.family)
        limits = {} if self.settings.alone else self.limits()
        steps = [each.step for each in (*systems.values(), *limits.values())]
        taken = in_turns(steps, self.settings.rounds, self.settings.warm_up, self.settings.block)
        flops, targets = step_of(ours)
        did = (self.settings.shape.tokens, targets, flops)
        for (name, system), seconds in zip(systems.items(), taken, strict=False):
            self.rows.append(Row(self.family, name, seconds, *did, system.parameters, held.get(name)))
        for name, reason in missing.items():
            self.rows.append(Row(self.family, name, [], *did, missing=reason))
        for (name, products), seconds in zip(limits.items(), taken[len(systems) :], strict=True):
            needed = [each * flops / products.flops for each in seconds]
            self.rows.append(Row(self.family, name, needed, *did))

    @property
    def on_cpu(self) -> bool:
        return self.settings.device.type == "cpu"

    def row(self, system: str) -> Row:
        return next(row for row in self.rows if row.system == system)

    def limits(self) -> dict[str, Products]:
        """The limits. On a CPU: with our library, and with torch.mm's own, which is all that peers can use.

        On a GPU: the card's rate. Scores of attention never leave its chip, so that the products of attention
        alone are no limit there.
        """
        settings = self.settings
        if not self.on_cpu:
            return {RATE: Products(Counter({LARGE: 1}), settings.device, settings.dtype)}
        products = recorded(self.family, settings.shape, settings.packed)
        return {
            LIMIT: Products(products, settings.device, settings.dtype),
            LIMIT_OF_TORCH: Products(products, settings.device, settings.dtype, default=True),
        }

    def peaks(self) -> dict[str, int]:
        """Peak bytes by system. On a CPU each has its own process, since peak resident memory never falls."""
        bytes_by_system = {}
        for name in (OURS, *(() if self.settings.alone else PEERS[self.family])):
            try:
                if self.settings.device.type == "cuda":
                    bytes_by_system[name] = peak(self.settings, self.family, name)
                    continue
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                    bytes_by_system[name] = fresh.submit(peak, self.settings, self.family, name).result()
            except ImportError:
                continue  # the peer's row says that it is missing
        return bytes_by_system


def step_of(ours: Ours) -> tuple[float, float]:
    """The mean FLOPs and targets of a step over the batches."""
    objective, family = ours.learner.objective, ours.learner.family
    ready = batches(ours.family, ours.shape, ours.packed, ours.device)
    flops = statistics.mean(objective.flops(family, batch) for batch in ready)
    return flops, statistics.mean(batch.supervised for batch in ready)


def peak(settings: Settings, family: str, system: str) -> int:
    """The most bytes that three steps of a system take, with its weights and its optimiser's state."""
    build = None if system == OURS else builder(family, system)

    def work(settings: Settings) -> None:
        working = settings.ours(family) if build is None else settings.theirs(build, family)
        for _ in range(3):
            working.step()

    # A small run first: libraries that load at first use are not the model's memory.
    work(replace(settings, shape=SMALL, compiled=False))
    if settings.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(settings.device)
    before = peak_memory(settings.device)
    work(settings)
    return peak_memory(settings.device) - before
