"""Speed of tokenising text, cutting windows and loading batches, on the embedded corpus.

    python -m benchmarks.data [--rounds N]
    python -m benchmarks.data --loader ROWS LENGTH    # the loader alone, on batches of this shape

The loader is that of training: windows, the objective's `build` and the DataLoader in the training process.
Its share of a step is measured in turns with the step, because a step evicts from the caches what the loader
alone would find there. Goal: 3% at most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from archs import FAMILIES
from archs.batch import Batch
from benchmarks import command, measuring
from benchmarks.measuring import Spread, in_turns, machine
from benchmarks.workload import OBJECTIVE, Ours, Shape
from experiments.data.sources.addresses import Addresses
from experiments.data.store import Corpus, load_corpus
from experiments.data.windows import WindowStream
from experiments.training.loader import Building, Loader, Steps
from objectives import OBJECTIVES

Result = TypeVar("Result")
REPEATS, STEPS = 5, 300
SHAPES = ((32, 128), (64, 256), (64, 1024))  # rows, width
TRAINED, GOAL = Shape(), 0.03  # 4 layers x 256, vocabulary 8192, 32 x 128


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="loads and steps of each family (9)")
    parser.add_argument("--loader", nargs=2, type=int, metavar=("ROWS", "LENGTH"), help="the loader alone")
    options = parser.parse_args()
    rounds, console = command.rounds(options.rounds), Console()
    with tempfile.TemporaryDirectory() as cache:
        if not options.loader:
            read_text(Path(cache))
        corpus = load_corpus(Addresses(), vocabulary_size=TRAINED.vocabulary, cache=Path(cache))
        console.print(alone(corpus, *options.loader) if options.loader else shares(corpus, rounds))
    console.print(machine(), highlight=False)


def read_text(cache: Path) -> None:
    """Loading a corpus, tokenising its text, cutting its windows."""
    cold, corpus = timed(lambda: load_corpus(Addresses(), cache=cache))
    warm, corpus = timed(lambda: load_corpus(Addresses(), cache=cache))
    print(f"load_corpus: cold {cold:.2f} s, warm {warm:.2f} s")
    for name, part in corpus.splits.items():
        sizes = f"{len(part.tokens):,} tokens, {part.text_bytes:,} bytes"
        print(f"  {name}: {part.documents} documents, {sizes}")

    texts = [document.text for document in Addresses().documents()]
    tokens = sum(map(len, corpus.tokenizer.encode_batch(texts)))
    report("tokenising, all cores", tokens, lambda: corpus.tokenizer.encode_batch(texts))
    for rows, width in SHAPES:
        stream = WindowStream(corpus.train, rows, width, seed=0)
        report(f"windows {rows} x {width}", STEPS * rows * width, lambda stream=stream: read(stream))


def shares(corpus: Corpus, rounds: int) -> Table:
    """A table of the loader alone and beside a training step, with each family's own objective."""
    table = Table(
        title=f"The loader, {TRAINED.rows} x {TRAINED.length}, {TRAINED.layers} layers x {TRAINED.width}, "
        f"vocabulary {TRAINED.vocabulary:,}; {rounds} rounds: median (middle half)"
    )
    for heading in ("family", "objective"):
        table.add_column(heading)
    for heading in ("alone, M tokens/s", "a load, ms", "a step, ms", f"share, % (goal {GOAL:.0%})"):
        table.add_column(heading, justify="right")
    for family in OBJECTIVE:
        loaded = batches(corpus, family, TRAINED.rows, TRAINED.length)
        by_itself = rates(loaded, TRAINED.tokens, STEPS)
        step = training(family, list(islice(loaded, 8)))
        load, trained = in_turns([lambda loaded=loaded: next(loaded), step], rounds)
        share = [100 * part / whole for part, whole in zip(load, trained, strict=True)]
        table.add_row(
            family,
            OBJECTIVE[family],
            by_itself.shown(".1f"),
            Spread.of([1e3 * seconds for seconds in load]).shown(".2f"),
            Spread.of([1e3 * seconds for seconds in trained]).shown(),
            Spread.of(share).shown(".2f"),
        )
    return table


def alone(corpus: Corpus, rows: int, length: int) -> Table:
    """A table of the loader alone, on batches of rows x length tokens."""
    table = Table(title=f"The loader alone, {rows} x {length}: median (middle half) of {REPEATS}")
    for heading in ("family", "objective", "M tokens/s", "ms a batch"):
        table.add_column(heading)
    for family, objective in OBJECTIVE.items():
        rate = rates(batches(corpus, family, rows, length), rows * length, batches_a_time=2)
        table.add_row(family, objective, rate.shown(".1f"), f"{rows * length / rate.median / 1e3:,.1f}")
    return table


def rates(loaded: Iterator[Batch], tokens: int, batches_a_time: int) -> Spread:
    """Millions of tokens a second, over REPEATS stretches of batches; a first batch is not timed."""
    next(loaded)

    def stretch() -> None:
        for _ in islice(loaded, batches_a_time):
            pass

    return Spread.of([batches_a_time * tokens / measuring.timed(stretch) / 1e6 for _ in range(REPEATS)])


def batches(corpus: Corpus, family: str, rows: int, length: int) -> Iterator[Batch]:
    """The batches that training of this family would read."""
    objective = OBJECTIVES[OBJECTIVE[family]](corpus.vocabulary, FAMILIES[family].layout)
    stream = WindowStream(corpus.train, rows, length, seed=0)
    return iter(Loader(Steps(Building(objective, stream, seed=0, steps=None)), 0, 10**9))


def training(family: str, loaded: list[Batch]) -> Callable[[], object]:
    """A call that takes a step of AdamW on the next of these batches."""
    ours, turns = Ours(family, TRAINED), cycle(loaded)
    return lambda: ours.train_on(next(turns))


def read(stream: WindowStream) -> None:
    for step in range(STEPS):
        stream(step)


def report(what: str, tokens: int, work: Callable[[], object]) -> None:
    rates = [tokens / timed(work)[0] for _ in range(REPEATS)]
    low, middle, high = (value / 1e6 for value in (min(rates), statistics.median(rates), max(rates)))
    print(f"{what}: {middle:.2f} M tokens/s (median of {REPEATS}; {low:.2f}-{high:.2f})")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    command.run(main)
