"""Finds the files that `data.path` names: one file, the files of a folder, or those that match a pattern."""

from __future__ import annotations

import glob
from pathlib import Path

from archs.errors import UserError

SUFFIXES = {
    ".txt": "text",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


def kind_of(path: str) -> str:
    """Returns the format of the files, "text", "parquet" or "jsonl", by suffix; any other suffix is text.

    Raises UserError if the files differ in format.
    """
    kinds = {SUFFIXES.get(file.suffix.lower(), "text") for file in listed(path)}
    if len(kinds) > 1:
        raise UserError(
            f"'{path}' holds files of several kinds ({', '.join(sorted(kinds))}); set data.source to one"
        )
    return kinds.pop()


def listed(path: str, kind: str | None = None) -> list[Path]:
    """Returns the files of a path, sorted: the file itself, all files below a folder, or a pattern's matches.

    Of a folder only files with a known suffix are taken, and only those of `kind` if given. Raises UserError
    if there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        wanted = [suffix for suffix, of_kind in SUFFIXES.items() if kind in (None, of_kind)]
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in wanted and file.is_file())
        if not files:
            raise UserError(
                f"folder '{path}' holds no {' or '.join(wanted)} file; point data.path at one that does"
            )
        return files
    files = sorted(Path(match) for match in glob.glob(str(place), recursive=True) if Path(match).is_file())  # noqa: PTH207 (patterns may be absolute)
    if not files:
        raise UserError(
            f"'{path}' does not exist; data.path takes a file, a folder or a pattern such as 'x/*.txt'"
        )
    return files
