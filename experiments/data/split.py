"""Splits documents into training, validation and test, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from typing import Literal

from experiments.data.sources.document import Document

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
VALIDATION = TEST = 0.05
HEAD = 64  # documents held in memory, so that small corpora get exact fractions


def split(documents: Iterable[Document]) -> Iterator[tuple[Split, Document]]:
    """Yields each document with its split, in order: 90% train, 5% validation, 5% test.

    A document is placed by a hash of its text, or of its meta["group"] if it has one, so that duplicates and
    groups stay together. Exact fractions are taken of the first `HEAD` documents, and of all documents of one
    meta["era"], which are neighbours in the stream: at least one each for validation and test if three
    differ. All later documents are placed by their hash alone. So a stream may be larger than memory, and
    adding a document moves no other.
    """
    for era, neighbours in groupby(documents, key=lambda document: document.meta.get("era")):
        yield from _place(neighbours, HEAD if era is None else None)


def _place(documents: Iterator[Document], held: int | None) -> Iterator[tuple[Split, Document]]:
    """Places the first `held` documents (None = all) in exact fractions, the rest by hash."""
    head = list(islice(documents, held))
    placed = _ranked({_key(document) for document in head})
    for document in chain(head, documents):
        key = _key(document)
        yield placed.get(key) or _by_hash(key), document


def _key(document: Document) -> bytes:
    return hashlib.sha256(str(document.meta.get("group", document.text)).encode()).digest()


def _ranked(keys: set[bytes]) -> dict[bytes, Split]:
    """Places keys in exact fractions by the order of their hashes; fewer than three are all train."""
    ordered = sorted(keys)
    if len(ordered) < len(SPLITS):
        return dict.fromkeys(ordered, "train")
    validation = max(1, round(len(ordered) * VALIDATION))
    test = max(1, round(len(ordered) * TEST))
    return {
        key: "validation" if place < validation else "test" if place < validation + test else "train"
        for place, key in enumerate(ordered)
    }


def _by_hash(key: bytes) -> Split:
    """Places a key by its hash as a number from 0 to 1."""
    share = int.from_bytes(key[:8]) / 2**64
    return "validation" if share < VALIDATION else "test" if share < VALIDATION + TEST else "train"
