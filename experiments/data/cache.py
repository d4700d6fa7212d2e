"""A folder built once: whole or not there at all, with any number of processes asking."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from archs.errors import UserError
from experiments.storage.disk import told_if_full
from experiments.storage.whole import abandoned, beside


def once(folder: Path, build: Callable[[Path], None]) -> Path:
    """`folder`, filled by `build` if it is not there. It appears whole or not at all.

    Of several processes one builds while the others wait. On a file system without locks each builds
    its own and the first to finish wins.
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
            for place in abandoned(folder.parent, folder.name):
                shutil.rmtree(place, ignore_errors=True)
            with told_if_full(folder):
                _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    try:
        with beside(folder) as place:
            place.mkdir()
            build(place)
    except OSError:
        if not folder.is_dir():  # else another process was first, and its files are as good
            raise
