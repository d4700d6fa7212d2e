"""The files that `data.path` means: one file, a folder's, or those that match a pattern."""

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
    """text, parquet or jsonl, by suffix; any other suffix is read as text."""
    found = {SUFFIXES.get(file.suffix.lower(), "text") for file in listed(path)}
    if len(found) > 1:
        raise UserError(
            f"'{path}' holds files of several kinds ({', '.join(sorted(found))}); set data.source to one"
        )
    return found.pop()


def listed(path: str, kind: str | None = None) -> list[Path]:
    """The files meant by a path: itself, a folder's files (recursively, sorted), or a pattern's matches.

    In a folder only files with a known suffix count, of `kind` if given.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        wanted = [suffix for suffix, its_kind in SUFFIXES.items() if kind in (None, its_kind)]
        found = sorted(file for file in place.rglob("*") if file.suffix.lower() in wanted and file.is_file())
        if not found:
            raise UserError(
                f"folder '{path}' holds no {' or '.join(wanted)} file; point data.path at one that does"
            )
        return found
    found = sorted(Path(match) for match in glob.glob(str(place), recursive=True) if Path(match).is_file())  # noqa: PTH207 (patterns may be absolute)
    if not found:
        raise UserError(
            f"'{path}' does not exist; data.path takes a file, a folder or a pattern such as 'x/*.txt'"
        )
    return found
