"""Builds a cache folder once, however many processes ask for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from archs.errors import UserError
from experiments.storage.disk import full_disk_as_error
from experiments.storage.whole import abandoned, new_folder


def once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Returns `folder`, after calling `build` to fill it if it is absent. It appears complete or not at all.

    One process builds while the others wait. On a file system without locks each process builds its own,
    and the first to finish wins.
    """
    if folder.is_dir():
        return folder
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{folder}.lock"))
        except OSError as error:
            raise UserError(
                f"cannot write the cache folder '{folder.parent}' ({error.strerror}); set data.cache to a "
                "writable one"
            ) from error
        if not folder.is_dir():
            for partial in abandoned(folder.parent, folder.name):
                shutil.rmtree(partial, ignore_errors=True)
            with full_disk_as_error(folder):
                _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    try:
        with new_folder(folder) as partial:
            partial.mkdir()
            build(partial)
    except OSError:
        if not folder.is_dir():  # else another process finished first, and its files are the same
            raise
