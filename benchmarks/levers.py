"""The gain of each optimisation of training speed: a step without it beside a step with all of them.

    python -m benchmarks.levers [--families encoder_ae,decoder_ar] [--rounds 9]

On a CPU, at the shape of the goals (4 layers x 256, vocabulary 8192, 32 x 128). All take turns in one
process. Only keeping freed memory is a setting of the whole process, so for it two processes take turns. A
ratio above 1 is the gain of the lever.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from unittest.mock import patch

from rich.console import Console
from rich.table import Table
from torch import Tensor

from archs.core import fused_backward
from archs.core.cross_entropy import cross_entropy
from archs.core.heads import LanguageModelHead
from archs.families.family import Family
from archs.families.permuted_lm import PermutedLM
from benchmarks import command, workload
from benchmarks.measuring import Spread, in_turns, machine, ratio, timed
from benchmarks.workload import ALL, Ours, Shape, families_of

WARM_UP = 3
Without = Callable[[], AbstractContextManager[object]]
MEMORY, COMPILED = "freed memory kept", "torch.compile besides"


def plain_nats(head: LanguageModelHead, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return cross_entropy(head(hidden), targets, weights)


LEVERS: dict[str, Without] = {
    "oneDNN's products": lambda: patch.object(workload, "by_onednn", nullcontext),
    "norm and rotation by hand": lambda: patch.object(fused_backward, "ENABLED", False),
    "loss in chunks": lambda: patch.object(LanguageModelHead, "nats", plain_nats),
}
OF_ONE_FAMILY: dict[str, dict[str, Without]] = {
    "permuted_lm": {"last layer at queries alone": lambda: patch.object(PermutedLM, "asked", Family.asked)}
}


def without(ours: Ours, lever: Without) -> None:
    with lever():
        ours.step()


def measured(family: str, rounds: int) -> Iterator[tuple[str, Spread]]:
    """Yields each lever and how many times as long a step takes without it; last the gain of compiling."""
    ours, compiled = Ours(family, Shape()), Ours(family, Shape(), compiled=True)
    levers = LEVERS | OF_ONE_FAMILY.get(family, {})
    steps = [ours.step, *(partial(without, ours, lever) for lever in levers.values()), compiled.step]
    with_all, *without_one, compiled_seconds = in_turns(steps, rounds, WARM_UP)
    for name, seconds in zip(levers, without_one, strict=True):
        yield name, ratio(with_all, seconds)
    kept, given_back = in_processes(family, rounds)
    yield MEMORY, ratio(kept, given_back)
    yield COMPILED, ratio(compiled_seconds, with_all)


def in_processes(family: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of steps in a process that keeps freed memory and in one that returns it, in turns."""
    with fresh(True, family) as kept, fresh(False, family) as given_back:
        taken = [(kept(), given_back()) for _ in range(WARM_UP + rounds)][WARM_UP:]
    return [each[0] for each in taken], [each[1] for each in taken]


@contextmanager
def fresh(keeps: bool, family: str) -> Iterator[Callable[[], float]]:
    """A call that takes one step in a process of its own and returns its seconds."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_begin, initargs=(keeps, family)) as process:
        yield lambda: process.submit(_step).result()


def _begin(keeps: bool, family: str) -> None:
    global _ours
    with nullcontext() if keeps else patch.object(workload, "keep_freed_memory"):
        _ours = Ours(family, Shape())


def _step() -> float:
    return timed(_ours.step)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", default=ALL, help="with commas between them")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    families, rounds = families_of(options.families), command.rounds(options.rounds)
    own = dict.fromkeys(name for levers in OF_ONE_FAMILY.values() for name in levers)
    table = Table(title=f"Times as long without: median (middle half) of {rounds} rounds")
    table.add_column("family")
    headings = [*LEVERS, *own, MEMORY, COMPILED]
    for heading in headings:
        table.add_column(heading)
    for family in families:
        gains = {name: gain.shown(".2f") for name, gain in measured(family, rounds)}
        table.add_row(family, *(gains.get(heading, "") for heading in headings))
    console = Console(width=150)
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    command.run(main)
