"""Measures how much of a task's test text is in the training text, by 13-grams (Brown et al. 2020, GPT-3).

A gram is 13 words in a row inside one document; a word is a run of letters and digits, lower-cased. Grams are
compared by hashes of 64 bits. The training text is read once, document by document, for all tasks together.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments.data.store import Corpus
from experiments.storage.json_files import read_json, write_json

GRAM = 13
WORD = re.compile(r"\w+")
UNKNOWN = 0  # the number of a word that is in no item, and so in no gram of an item
FORMAT = 1  # is raised when the same items would give another result


@dataclass(frozen=True)
class Overlap:
    """The overlap of one task with the training text.

    items     the share of the measured items that have a gram in the training text
    grams     the share of all grams of those items that are in the training text
    measured  the number of items with GRAM words or more
    short     the number of items with fewer words, which have no gram

    Both shares are None if all items are short.
    """

    items: float | None
    grams: float | None
    measured: int
    short: int

    def __str__(self) -> str:
        """As "3.6% of 1,000 items, 0.6% of their grams; 2 too short"."""
        left_out = f"; {self.short:,} too short" if self.short else ""
        if self.items is None:
            return f"none of {self.short:,} items is long enough"
        return f"{self.items:.1%} of {self.measured:,} items, {self.grams:.1%} of their grams{left_out}"


def overlaps(corpus: Corpus, tasks: Mapping[str, Sequence[str]], cache: Path) -> dict[str, Overlap]:
    """Returns {task: overlap of its items}. Results are kept in cache/overlap, so each is counted once.

    Items are encoded and decoded first, because the training text is read back from its tokens too.
    """
    files = {name: cache / "overlap" / f"{_key(corpus, items)}.json" for name, items in tasks.items()}
    known = {name: read_json(file) for name, file in files.items()}
    missing = [name for name, content in known.items() if content is None]
    if missing:
        decode, encode = corpus.tokenizer.decode, corpus.tokenizer.encode
        texts = {name: [decode(encode(item)) for item in tasks[name]] for name in missing}
        for name, counted in count(_documents(corpus), texts).items():
            known[name] = asdict(counted)
            with suppress(OSError):  # a read-only cache: it is counted again next time
                files[name].parent.mkdir(parents=True, exist_ok=True)
                write_json(files[name], known[name])
    return {name: Overlap(**content) for name, content in known.items() if content is not None}


def count(documents: Iterable[str], tasks: Mapping[str, Sequence[str]]) -> dict[str, Overlap]:
    """Returns {task: overlap of its items with the documents}."""
    numbers: dict[str, int] = {}
    items = {name: [_numbered(item, numbers, grow=True) for item in texts] for name, texts in tasks.items()}
    values, weights = _hashing(len(numbers))
    grams_of = {name: [_grams(item, values, weights) for item in rows] for name, rows in items.items()}
    every = _distinct(grams for rows in grams_of.values() for grams in rows)
    seen = np.zeros(len(every), dtype=bool)
    for document in documents if len(every) else ():
        here = _grams(_numbered(document, numbers), values, weights)
        seen[_places(here, every)] = True
    return {name: _shares([seen[np.searchsorted(every, g)] for g in rows]) for name, rows in grams_of.items()}


class ItemFinder:
    """Tells whether a text holds one of these items: it has a gram of an item, or exactly an item's words."""

    def __init__(self, items: Sequence[str]) -> None:
        self._numbers: dict[str, int] = {}
        rows = [_numbered(item, self._numbers, grow=True) for item in items]
        self._values, self._weights = _hashing(len(self._numbers))
        self._grams = _distinct(_grams(row, self._values, self._weights) for row in rows)
        self._whole = {row.tobytes() for row in rows if len(row)}

    def __call__(self, text: str) -> bool:
        words = _numbered(text, self._numbers)
        here = _grams(words, self._values, self._weights)
        return words.tobytes() in self._whole or len(_places(here, self._grams)) > 0


def _hashing(words: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random value for each word, UNKNOWN included, and an odd weight for each place in a gram."""
    weights = np.random.default_rng(0).integers(1, 2**64, GRAM, dtype=np.uint64) | np.uint64(1)
    return np.random.default_rng(1).integers(0, 2**64, words + 1, dtype=np.uint64), weights


def _distinct(grams: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([np.empty(0, np.uint64), *grams]))


def _places(grams: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Returns the places in `every`, which is sorted, of the grams that are in it."""
    if not len(every):
        return np.empty(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(every, grams), len(every) - 1)
    return place[every[place] == grams]


def _shares(items: list[np.ndarray]) -> Overlap:
    """items: for each item, whether each of its grams is in the training text; empty for a short item."""
    long = [grams for grams in items if len(grams)]
    short = len(items) - len(long)
    if not long:
        return Overlap(None, None, 0, short)
    touched = float(np.mean([grams.any() for grams in long]))
    return Overlap(touched, float(np.concatenate(long).mean()), len(long), short)


def _numbered(text: str, numbers: dict[str, int], grow: bool = False) -> np.ndarray:
    """Returns the numbers of a text's words: (n) int64. A new word is UNKNOWN, or is added if `grow`."""
    words = WORD.findall(text.lower())
    if grow:
        for word in words:
            numbers.setdefault(word, len(numbers) + 1)
    return np.fromiter((numbers.get(word, UNKNOWN) for word in words), dtype=np.int64, count=len(words))


def _grams(words: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the hashes of all grams without an unknown word, in order: sums of word value x odd weight."""
    number = len(words) - GRAM + 1
    if number < 1:
        return np.empty(0, dtype=np.uint64)
    of_words, missing = values[words], np.concatenate([[0], (words == UNKNOWN).cumsum()])
    hashes = np.zeros(number, dtype=np.uint64)
    for place, weight in enumerate(weights):
        hashes += of_words[place : place + number] * weight  # overflow wraps around, as is meant
    return hashes[missing[GRAM:] == missing[:-GRAM]]


def _documents(corpus: Corpus) -> Iterator[str]:
    part = corpus.train
    for start, end in zip(part.offsets[:-1], part.offsets[1:], strict=True):
        yield corpus.tokenizer.decode(part.tokens[start:end].tolist())


def _key(corpus: Corpus, items: Sequence[str]) -> str:
    content = json.dumps([FORMAT, GRAM, corpus.digest, *items])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
