"""A full disk is one line; what was written is flushed."""

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
    """There is no room left; what was finished before is untouched."""


@contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """Raises FullDiskError in place of whatever a library makes of a disk that is full."""
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
    """Whether the operating system said so, directly, behind another error, or through a library in Rust."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(f"os error {number})" in str(error) for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(path: Path) -> str:
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    return f"{shutil.disk_usage(there).free / 1e6:,.1f} MB"


def flush(path: Path) -> None:
    """A file's content, or a folder's names, to disk: after this a lost node does not lose them."""
    if os.name == "nt":  # cannot open a folder, and flushes files by itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Every file below, then the folders."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)
