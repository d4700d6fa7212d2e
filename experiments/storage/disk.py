"""Turns a full disk into a one-line error, and flushes files to disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archs.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


class FullDiskError(UserError):
    """The disk is full. Files that were finished before are untouched."""


@contextmanager
def full_disk_as_error(path: Path) -> Iterator[None]:
    """Raises FullDiskError in place of the exception that a library raises when the disk is full."""
    try:
        yield
    except FullDiskError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise FullDiskError(
            f"no space left for '{path}' ({_free(path)} free there); what was finished is untouched: make "
            "room, and the same command continues"
        ) from error


def is_full(error: BaseException | None) -> bool:
    """Whether the error means a full disk.

    It may be the system's own OSError, the cause of another error, or the text of an error from Rust.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(f"os error {number})" in str(error) for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(path: Path) -> str:
    existing = next(folder for folder in path.absolute().parents if folder.is_dir())
    return f"{shutil.disk_usage(existing).free / 1e6:,.1f} MB"


def flush(path: Path) -> None:
    """Flushes a file's content, or a folder's list of files, to disk, so that a crash does not lose it."""
    if os.name == "nt":  # Windows cannot open a folder, and flushes files by itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Flushes every file and folder below `folder`, then the folder itself."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)
