"""The rows of a task as its files have them: a Hugging Face dataset, local files, or the embedded addresses.

Split names are the source's own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archs.errors import UserError, unknown
from experiments.data.sources.files import json_rows
from experiments.recipe.groups.task import TaskConfig

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
SHARD = re.compile(r"-\d+-of-(\d+)$")  # as Hugging Face numbers them
EVERY = "*"  # all configurations of a dataset, one after another
EMBEDDED = "embedded:"  # of a source that needs no files
AT_ONCE = 1000  # rows that are held as Python objects
Row = dict[str, Any]
# Of the datasets library: no network, no such dataset or split, a dataset that is a script (RuntimeError).
LOADING = (OSError, ValueError, RuntimeError)


class Source:
    """Where a task's rows are: `splits` names them, `rows` yields one's. A single file is the split "all"."""

    def __init__(self, task: TaskConfig) -> None:
        self.task = task
        self.files = {} if task.path is None else _files(Path(task.path))
        self.splits = list(self.files) if task.path is not None else _splits(str(task.source))

    def rows(self, split: str) -> Iterator[Row]:
        """Raises UserError for a split that is not there, and, once read, for files that cannot be read."""
        if split not in self.splits:
            raise unknown(f"split of {self.task.where}", split, self.splits)
        if self.task.path is not None:
            return (row for file in self.files[split] for row in read_rows(file))
        return _dataset(str(self.task.source), split)


def read_rows(file: Path) -> Iterator[Row]:
    """A file's rows as dicts. Raises UserError if it is empty, damaged or may not be read."""
    read, found = {".parquet": _parquet, ".csv": _csv}.get(file.suffix, _json_lines), False
    try:
        for row in read(file):
            found = True
            yield row
    except OSError as error:
        raise UserError(f"cannot read '{file}' ({error.strerror or error}); check it") from error
    if not found:
        raise UserError(f"'{file}' has no rows; give a file with items in it")


def _files(place: Path) -> dict[str, list[Path]]:
    """Files by split: `train.parquet`, or all its shards, `train-00000-of-00002.parquet`."""
    if place.is_file():
        if place.suffix not in SUFFIXES:
            raise UserError(
                f"task.path='{place}': came {place.suffix or 'no suffix'}, must be one of: {_known()}"
            )
        return {"all": [place]}
    if not place.is_dir():
        raise UserError(f"task.path='{place}' does not exist; give a folder of <split>.parquet, or one file")
    found: dict[str, list[Path]] = {}
    for file in sorted(place.iterdir()):
        if file.suffix in SUFFIXES and file.is_file():
            found.setdefault(SHARD.sub("", file.stem), []).append(file)
    if not found:
        raise UserError(f"folder '{place}' holds no task files; name them <split> and one of: {_known()}")
    for split, files in found.items():
        _check_shards(place, split, files)
    return found


def _check_shards(place: Path, split: str, files: list[Path]) -> None:
    """Raises UserError where a split is there twice, or in part."""
    shard = SHARD.search(files[0].stem)
    wanted = int(shard[1]) if shard else 1
    if len(files) != wanted:
        names = ", ".join(file.name for file in files)
        raise UserError(
            f"folder '{place}' has {len(files)} files of split {split}, must be {wanted}: {names}; keep one "
            "file of a split, or all its shards"
        )


def _known() -> str:
    return ", ".join(SUFFIXES)


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=AT_ONCE):
                yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"'{file}' is not a parquet file; give it the suffix of what it is") from error


def _csv(file: Path) -> Iterator[Row]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise csv.Error(f"line {reader.line_num} has not as many cells as the first")
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"'{file}' is not CSV in UTF-8 ({error}); mend it, or give .jsonl") from error


def _json_lines(file: Path) -> Iterator[Row]:
    return (row for _, row in json_rows(file))


def _splits(source: str) -> list[str]:
    if source.startswith(EMBEDDED):
        return ["train", "validation", "test"]
    import datasets

    try:
        return list(datasets.get_dataset_split_names(*_named(source)[0]))
    except LOADING as error:
        raise _not_loaded(source, error) from error


def _dataset(source: str, split: str) -> Iterator[Row]:
    if source.startswith(EMBEDDED):
        yield from _party(split)
        return
    import datasets

    try:
        for part in [datasets.load_dataset(*named, split=split) for named in _named(source)]:
            for first in range(0, len(part), AT_ONCE):
                yield from part.select(range(first, min(first + AT_ONCE, len(part)))).to_list()
    except LOADING as error:
        raise _not_loaded(source, error) from error


def _party(split: str) -> list[Row]:
    from experiments.tasks.builtin import party

    return [{"text": one.text, "label": one.label} for one in getattr(party.load(), split)]


def _named(source: str) -> list[tuple[str, str | None]]:
    """Dataset and configuration; of `name:*` each of its configurations."""
    import datasets

    name, _, config = source.partition(":")
    if config == EVERY:
        return [(name, each) for each in datasets.get_dataset_config_names(name)]
    return [(name, config or None)]


def _not_loaded(source: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return UserError(
        f"dataset '{source}' could not be loaded: {reason}; check the name and the network, or give local "
        "files by task.path"
    )
