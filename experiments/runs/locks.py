"""File locks between processes, so that two never train or write one run at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from archs.errors import UserError

# Seconds for which a process may hold a lock without wanting to keep it: one that only looks whether a run is
# taken, or one of many threads that was killed and has not ended yet.
PASSING = 3.0


@contextmanager
def exclusive(file: Path, in_use: UserError) -> Iterator[None]:
    """Holds the lock. Raises `in_use` if another process still holds it after PASSING seconds."""
    try:
        with FileLock(file, timeout=PASSING):
            yield
    except Timeout as error:
        raise in_use from error


@contextmanager
def try_lock(file: Path, timeout: float = 0.0) -> Iterator[bool]:
    """Yields True while this process holds the lock, or False if another process holds it.

    timeout: seconds to wait for it. Raises UserError if the file system has no locks.
    """
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError) as error:
        raise UserError(
            f"the file system of '{file.parent}' has no file locks ({error}), without which two processes "
            "could train one run; set out=FOLDER to one that has, such as NFS 4"
        ) from error
    try:
        yield True
    finally:
        lock.release()


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock now. Creates no file, for the folder may be another user's."""
    if not file.exists():
        return False
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a read-only folder: whether it is locked cannot be known
        return True
    lock.release()
    return False
