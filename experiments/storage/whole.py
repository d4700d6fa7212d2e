"""Writes files and folders that are either complete or absent, whatever kills the process.

Each is written under a temporary name beside its place, flushed to disk, and renamed.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archs.errors import UserError
from experiments.storage.disk import flush, flush_all, full_disk_as_error, is_full


def partial_of(path: Path) -> Path:
    """Returns the temporary name, `model.safetensors@HOST@PROCESS.partial`; no host's name has an @."""
    return path.with_name(f"{path.name}@{platform.node()}@{os.getpid()}.partial")


def abandoned(folder: Path, name: str = "*") -> Iterator[Path]:
    """Yields the partial files of `name` whose process on this machine has died.

    Those of other machines are left out, for their processes may still live.
    """
    for path in folder.glob(f"{name}@*@*.partial"):
        _, host, process = path.stem.rsplit("@", 2)
        if host == platform.node() and not lives(process):
            yield path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary file to write. It becomes `path` if the block raises nothing."""
    partial = partial_of(path)
    with full_disk_as_error(path):
        try:
            yield partial
            flush(partial)
            partial.replace(path)
            flush(path.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder to make and fill. It becomes `path` if the block raises nothing."""
    partial = partial_of(path)
    try:
        yield partial
        flush_all(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """As `new_folder`, for a path that a user gave. Raises UserError if it cannot be written."""
    with full_disk_as_error(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_folder(path) as partial:
                yield partial
        except OSError as error:
            if is_full(error):
                raise
            raise UserError(f"'{path}' cannot be written ({error.strerror}); give another place") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes the file completely or not at all. Raises FullDiskError."""
    with whole(path) as partial:
        partial.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Appends a line completely or not at all. Raises FullDiskError.

    If a kill cut the file's last line short, that line is removed first.
    """
    content = memoryview(f"{line}\n".encode())
    with full_disk_as_error(path), path.open("a+b", buffering=0) as file:
        end = _end_of_last_line(path.read_bytes()) if _torn(path) else path.stat().st_size
        file.truncate(end)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(end)
            raise


def _torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _end_of_last_line(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def remove_partial(folder: Path) -> None:
    """Deletes the partial files of dead processes in this folder."""
    for path in abandoned(folder):
        path.unlink(missing_ok=True)


def lives(process: str) -> bool:
    """Whether another process on this machine has this number."""
    if os.name == "nt" or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process: it lives
        return True
    return int(process) != os.getpid()
