"""Tokenises a text once, keeps the tokens in cache files, and memory-maps those afterwards.

Several processes may ask for the same corpus at once.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from archs.errors import UserError
from experiments.data.cache import once
from experiments.data.marks import Marker
from experiments.data.sources.document import Document
from experiments.data.sources.source import Source
from experiments.data.split import SPLITS, Split, split
from experiments.data.tokenizer.tokenizer import Tokenizer, load
from experiments.data.tokenizer.training import train
from experiments.data.tokenizer.vocabulary import vocabulary as vocabulary_of
from objectives.base import Vocabulary
from objectives.marks import WORD

FORMAT = 1  # is raised when the files' layout, the split or the layout of trained tokenizers changes
TRAINER_CHARACTERS = 512 << 20  # at most so many train the BPE; its merges no longer change by then
BATCH_CHARACTERS = 4 << 20  # are tokenised at a time, on all cores


@dataclass(frozen=True, eq=False)
class Tokens:
    """One split: documents one after another, each ending with eos.

    tokens      (N) uint16 or uint32, memory-mapped
    offsets     (documents + 1) int64: document d is tokens[offsets[d]:offsets[d + 1]]
    text_bytes  UTF-8 bytes of all its texts
    marks       (N) uint8, memory-mapped: see objectives.base.Windows
    """

    tokens: np.ndarray
    offsets: np.ndarray
    text_bytes: int
    marks: np.ndarray | None = None

    @property
    def documents(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Corpus:
    """A tokenised text in three splits, with its tokenizer. `digest` is the key of its cache files.

    exact_bytes: whether the bytes of each token are known: see `byte_lengths`.
    """

    train: Tokens
    validation: Tokens
    test: Tokens
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    digest: str
    exact_bytes: bool

    @cached_property
    def splits(self) -> dict[Split, Tokens]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def byte_lengths(self, name: Split) -> np.ndarray:
        """Returns the UTF-8 bytes that each token stands for: (V) float64, the denominator of bits per byte.

        They are exact if the tokenizer is byte-level and loses nothing (`exact_bytes`: in every document of
        this corpus the pieces have as many bytes as the text). Otherwise each ordinary token counts as the
        split's average. Bits per byte are then exact for the whole split, and approximate for a sample.
        """
        if self.exact_bytes:
            return self.tokenizer.byte_lengths.astype(np.float64)
        part = self.splits[name]
        ordinary = len(part.tokens) - part.documents  # every document's eos stands for no byte
        return np.where(self.tokenizer.special, 0.0, part.text_bytes / max(ordinary, 1))


def load_corpus(
    source: Source,
    tokenizer_path: str | None = None,
    vocabulary_size: int = 4096,
    marker: Marker | None = None,
    *,
    cache: Path,
) -> Corpus:
    """Returns the corpus of a source, from the cache if it is there, else tokenised and cached.

    tokenizer_path: see `tokenizer.load`; None trains a byte-level BPE of `vocabulary_size` on the training
    split. marker: see `marks.marker`; None leaves the text unmarked. Files are written to
    cache/tokenizers/<hash> and cache/tokens/<hash>. The hash covers the documents, the tokenizer, the marker
    and FORMAT. Raises UserError for a source that cannot be read or is too small to split.
    """
    content = _hash(source.fingerprint())

    def documents() -> Iterator[tuple[Split, Document]]:
        return split(source.documents())

    if tokenizer_path is None:
        reader = _trained(documents, content, vocabulary_size, cache)
    else:
        reader = load(tokenizer_path)
    vocabulary = vocabulary_of(reader)
    digest = _hash(content, reader.digest, str(vocabulary.eos), *([] if marker is None else [marker.key]))
    folder = once(
        cache / "tokens" / digest, lambda place: _tokenise(documents(), reader, vocabulary.eos, marker, place)
    )
    facts = json.loads((folder / "facts.json").read_text())
    parts = {name: _open(folder, name, facts) for name in SPLITS}
    return Corpus(
        **parts, tokenizer=reader, vocabulary=vocabulary, digest=digest, exact_bytes=facts["exact_bytes"]
    )


def _trained(
    documents: Callable[[], Iterable[tuple[Split, Document]]], content: str, size: int, cache: Path
) -> Tokenizer:
    def texts() -> Iterator[str]:
        left = TRAINER_CHARACTERS
        for name, document in documents():
            if name == "train" and left > 0:
                left -= len(document.text)
                yield document.text

    def build(place: Path) -> None:
        train(texts(), size).save(place / "tokenizer.json")

    folder = once(cache / "tokenizers" / _hash(content, str(size)), build)
    return load(folder / "tokenizer.json")


def _tokenise(
    documents: Iterable[tuple[Split, Document]],
    reader: Tokenizer,
    eos: int,
    marker: Marker | None,
    place: Path,
) -> None:
    kind = np.uint16 if reader.size < 1 << 16 else np.uint32
    lengths = {name: array("q", [0]) for name in SPLITS}
    text_bytes = dict.fromkeys(SPLITS, 0)
    exact = reader.byte_level
    with ExitStack() as stack:
        files = {name: stack.enter_context((place / f"{name}.bin").open("wb")) for name in SPLITS}
        marked = {}
        if marker is not None:
            marked = {name: stack.enter_context(_marks_file(place, name).open("wb")) for name in SPLITS}
        advance = stack.enter_context(_progress())
        for names, texts in _batches(documents):
            sizes = [len(text.encode()) for text in texts]
            for name, text, size, ids in zip(names, texts, sizes, reader.encode_batch(texts), strict=True):
                tokens = np.array([*ids, eos], dtype=kind)
                exact = exact and int(reader.byte_lengths[tokens].sum()) == size
                files[name].write(tokens.tobytes())
                lengths[name].append(len(tokens))
                text_bytes[name] += size
                if marker is not None:
                    marked[name].write(_marks(text, ids, reader, marker))
            advance(sum(sizes))
    for name in SPLITS:
        if len(lengths[name]) == 1:
            raise UserError(
                f"the corpus has too few different documents to split (none is left for {name}); give "
                "at least three documents, or one longer text file"
            )
        np.save(place / f"{name}.offsets.npy", np.cumsum(lengths[name], dtype=np.int64))
    facts = {"dtype": np.dtype(kind).name, "text_bytes": text_bytes, "exact_bytes": exact, "format": FORMAT}
    (place / "facts.json").write_text(json.dumps(facts))


def _marks(text: str, ids: list[int], reader: Tokenizer, marker: Marker) -> bytes:
    """Returns the marks of a text and its eos, one byte a token; eos is a word of its own."""
    again, spans = reader.encode_with_spans(text)
    assert again == ids, "both ways of encoding a text give the same tokens"
    return marker(text, spans, reader.word_starts[ids]).tobytes() + bytes([WORD])


def _marks_file(folder: Path, name: Split) -> Path:
    return folder / f"{name}.marks.bin"


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Shows how many bytes are tokenised in a terminal; prints nothing to a log file."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("tokenising"), BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, done = bar.add_task("tokenising", total=None, done=""), 0

        def advance(size: int) -> None:
            nonlocal done
            done += size
            bar.update(task, done=f"{done / 1e6:,.1f} MB")

        yield advance


def _batches(documents: Iterable[tuple[Split, Document]]) -> Iterator[tuple[list[Split], list[str]]]:
    names: list[Split] = []
    texts: list[str] = []
    waiting = 0
    for name, document in documents:
        names.append(name)
        texts.append(document.text)
        waiting += len(document.text)
        if waiting >= BATCH_CHARACTERS:
            yield names, texts
            names, texts, waiting = [], [], 0
    if texts:
        yield names, texts


def _open(folder: Path, name: Split, facts: dict) -> Tokens:
    offsets = np.load(folder / f"{name}.offsets.npy")
    tokens = np.memmap(folder / f"{name}.bin", dtype=facts["dtype"], mode="r")
    file = _marks_file(folder, name)
    marks = np.memmap(file, dtype=np.uint8, mode="r") if file.exists() else None
    for array_of, file_name in ((tokens, f"{name}.bin"), (marks, file.name)):
        if array_of is not None and len(array_of) != offsets[-1]:
            raise UserError(
                f"the token cache '{folder}' is damaged ({file_name} is cut off); delete the folder"
            )
    return Tokens(tokens, offsets, facts["text_bytes"][name], marks)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join((str(FORMAT), *parts)).encode()).hexdigest()[:32]
