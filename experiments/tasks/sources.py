"""Reads the rows of a task from a Hugging Face dataset, local files, or the embedded addresses.

Splits have the names that the source gives them.
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
SHARD = re.compile(r"-\d+-of-(\d+)$")  # how Hugging Face numbers shards
EVERY = "*"  # stands for all configurations of a dataset, read one after another
EMBEDDED = "embedded:"  # begins the name of a source that needs no files
AT_ONCE = 1000  # rows held as Python objects at a time
Row = dict[str, Any]
# What the datasets library raises: no network, no such dataset or split; RuntimeError for a dataset script.
LOADING = (OSError, ValueError, RuntimeError)


class Source:
    """The rows of a task, by split. A single file is the split "all"."""

    def __init__(self, task: TaskConfig) -> None:
        self.task = task
        self.files = {} if task.path is None else _files(Path(task.path))
        self.splits = list(self.files) if task.path is not None else _splits(str(task.source))

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the rows of a split. Raises UserError for an unknown split or a file that cannot be read."""
        if split not in self.splits:
            raise unknown(f"split of {self.task.where}", split, self.splits)
        if self.task.path is not None:
            return (row for file in self.files[split] for row in read_rows(file))
        return _dataset(str(self.task.source), split)


def read_rows(file: Path) -> Iterator[Row]:
    """Yields a file's rows as dicts. Raises UserError if it is empty, damaged or cannot be read."""
    read, empty = {".parquet": _parquet, ".csv": _csv}.get(file.suffix, _json_lines), True
    try:
        for row in read(file):
            empty = False
            yield row
    except OSError as error:
        raise UserError(f"cannot read '{file}' ({error.strerror or error}); check it") from error
    if empty:
        raise UserError(f"'{file}' has no rows; give a file with items in it")


def _files(place: Path) -> dict[str, list[Path]]:
    """Returns {split: files}: `train.parquet`, or the shards `train-00000-of-00002.parquet`, …."""
    if place.is_file():
        if place.suffix not in SUFFIXES:
            raise UserError(
                f"task.path='{place}': came {place.suffix or 'no suffix'}, must be one of: {_known()}"
            )
        return {"all": [place]}
    if not place.is_dir():
        raise UserError(f"task.path='{place}' does not exist; give a folder of <split>.parquet, or one file")
    by_split: dict[str, list[Path]] = {}
    for file in sorted(place.iterdir()):
        if file.suffix in SUFFIXES and file.is_file():
            by_split.setdefault(SHARD.sub("", file.stem), []).append(file)
    if not by_split:
        raise UserError(f"folder '{place}' holds no task files; name them <split> and one of: {_known()}")
    for split, files in by_split.items():
        _check_shards(place, split, files)
    return by_split


def _check_shards(place: Path, split: str, files: list[Path]) -> None:
    """Raises UserError if a split has several files, or not all its shards."""
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

    return [{"text": example.text, "label": example.label} for example in getattr(party.load(), split)]


def _named(source: str) -> list[tuple[str, str | None]]:
    """Returns the dataset and its configuration; for `name:*` with each of its configurations."""
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
