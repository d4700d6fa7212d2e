"""Reads documents from files: plain text, parquet, JSON lines."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from archs.errors import UserError
from experiments.data.sources.document import Document, missing_column, not_text
from experiments.data.sources.source import Source
from experiments.recipe.groups.paths import listed

CHUNK = 20_000  # characters: documents cut from one long text are at least this long ...
CHUNKS = 20  # ... unless the text would then give fewer documents than this
FEWEST_CHUNK = 500  # characters: so short a document still spans a few windows
BLOCK = 1 << 20  # bytes read at a time


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """Files of one format. path: a file, a folder, or a pattern."""

    path: str
    format: Literal["text", "parquet", "jsonl"]

    def named(self) -> str:
        return f"{self.format}\0{self.text_column}"

    def read(self) -> Iterator[Document]:
        return read(self.format, self.path, self.text_column)

    def update(self, digest: Any) -> None:
        update_digest(digest, self.format, self.path)


def update_digest(digest: Any, kind: str, path: str) -> None:
    """Adds the bytes of all files to a hashlib digest, not their names: moved files are the same corpus."""
    for file in listed(path, kind):
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"cannot read '{file}' ({error.strerror}); check its permissions") from error


def read(kind: str, path: str, text_column: str) -> Iterator[Document]:
    """Yields the documents of all files; a few text files are cut into parts."""
    files = listed(path, kind)
    if kind == "text":
        # Few whole books would leave one book or none for validation, so they are cut into parts.
        return chain.from_iterable(_cut(file) if len(files) < CHUNKS else _whole(file) for file in files)
    rows = _parquet if kind == "parquet" else _json_lines
    return chain.from_iterable(rows(file, text_column) for file in files)


def _whole(file: Path) -> Iterator[Document]:
    yield Document("".join(_blocks(file)), str(file))


def _cut(file: Path) -> Iterator[Document]:
    """Yields contiguous parts of one file. Each ends at a blank line, else a line's end, else a space."""
    least = max(min(CHUNK, file.stat().st_size // CHUNKS), FEWEST_CHUNK)
    kept, number = "", 0
    for block in _blocks(file):
        kept += block
        done = 0
        while len(kept) - done >= 3 * least:  # so that the last part is never shorter than `least`
            end = _boundary(kept, done + least, done + 2 * least)
            yield Document(kept[done:end], f"{file}#{number}")
            done, number = end, number + 1
        kept = kept[done:]
    yield Document(kept, f"{file}#{number}")


def _boundary(text: str, start: int, stop: int) -> int:
    for mark in ("\n\n", "\n", " "):
        place = text.find(mark, start, stop)
        if place >= 0:
            return place + len(mark)
    return stop


def _blocks(file: Path) -> Iterator[str]:
    """Yields the file's text in blocks, with \\n as line end.

    Raises UserError if it is empty, binary or not UTF-8.
    """
    decoder, newlines = codecs.getincrementaldecoder("utf-8")(), io.IncrementalNewlineDecoder(None, True)
    seen = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            if (nul := block.find(b"\0")) >= 0:
                raise UserError(
                    f"'{file}' is binary (NUL at byte offset {seen + nul}); data.source=text reads UTF-8 text"
                )
            text = _decode(decoder, block, seen, file)
            if seen == 0:
                text = text.removeprefix("\ufeff")  # a byte order mark is not text
            seen += len(block)
            yield newlines.decode(text)
    if seen == 0:
        raise UserError(f"'{file}' is empty; give a UTF-8 text file")
    yield newlines.decode(_decode(decoder, b"", seen, file, final=True), final=True)


def _decode(
    decoder: codecs.IncrementalDecoder, block: bytes, seen: int, file: Path, final: bool = False
) -> str:
    waiting = len(decoder.getstate()[0])  # bytes of a character cut by the last block's end
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        offset = seen - waiting + error.start
        raise UserError(
            f"'{file}' is not UTF-8 (byte offset {offset}); convert it, e.g. with iconv -f latin1 -t utf-8"
        ) from error


def _parquet(file: Path, text_column: str) -> Iterator[Document]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"'{file}' is not a parquet file; set data.source to what it is") from error
    with table:
        if text_column not in table.schema_arrow.names:
            raise missing_column(f"'{file}'", text_column, table.schema_arrow.names)
        number = 0
        for batch in table.iter_batches(batch_size=256, columns=[text_column]):
            for text in batch.column(0).to_pylist():
                if not isinstance(text, str):
                    raise not_text(f"'{file}'", number, text_column, text)
                yield Document(text, f"{file}#{number}")
                number += 1
    if number == 0:
        raise UserError(f"'{file}' has no rows; give a parquet file with text in it")


def _json_lines(file: Path, text_column: str) -> Iterator[Document]:
    for number, row in json_rows(file):
        if text_column not in row:
            raise missing_column(f"'{file}', line {number}", text_column, list(row))
        if not isinstance(row[text_column], str):
            raise not_text(f"'{file}'", number, text_column, row[text_column])
        yield Document(row[text_column], f"{file}#{number}")


def json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the line number and the object of each line of a .jsonl file. Empty lines are skipped."""
    for number, line in enumerate(lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"'{file}', line {number} is not JSON ({error.msg}); give one JSON object a line"
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                f"'{file}', line {number} holds {type(row).__name__}; give one JSON object a line"
            )
        yield number, row


def lines(file: Path) -> Iterator[str]:
    """Yields the file's lines without line ends, and "" after a last line end. Raises as `_blocks`."""
    rest = ""
    for block in _blocks(file):
        *whole, rest = (rest + block).split("\n")
        yield from whole
    yield rest
