"""Files that are whole or not there at all, whatever kills the process, and a full disk told in one line."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archs.errors import UserError
from experiments.storage.disk import flush, flush_all, is_full, told_if_full


def partial_of(path: Path) -> Path:
    """Beside `path`: where this process writes it. The name says whose it is: no host's name has an @."""
    return path.with_name(f"{path.name}@{platform.node()}@{os.getpid()}.partial")


def abandoned(folder: Path, name: str = "*") -> Iterator[Path]:
    """What dead processes of this machine left half-written of `name`; another's may live."""
    for path in folder.glob(f"{name}@*@*.partial"):
        _, host, process = path.stem.rsplit("@", 2)
        if host == platform.node() and not lives(process):
            yield path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written: flushed to disk, then put in place, if the block ends well."""
    partial = partial_of(path)
    with told_if_full(path):
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
def beside(path: Path) -> Iterator[Path]:
    """A folder to be made and filled: flushed to disk, then put in place, if the block ends well."""
    place = partial_of(path)
    try:
        yield place
        flush_all(place)
        place.replace(path)
        flush(path.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same, for a user who named the place. Raises UserError if it cannot be written."""
    with told_if_full(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside(path) as place:
                yield place
        except OSError as error:
            if is_full(error):
                raise
            raise UserError(f"'{path}' cannot be written ({error.strerror}); give another place") from error


def write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all. Raises FullDiskError."""
    with whole(path) as partial:
        partial.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Whole or not at all, and never glued to a line that a kill cut short: that one is taken away.

    Raises FullDiskError.
    """
    content = memoryview(f"{line}\n".encode())
    with told_if_full(path), path.open("a+b", buffering=0) as file:
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
    """What killed processes left half-written in this folder; those that live, or may, keep theirs."""
    for path in abandoned(folder):
        path.unlink(missing_ok=True)


def lives(process: str) -> bool:
    """Whether another process of this machine has this number."""
    if os.name == "nt" or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return int(process) != os.getpid()
