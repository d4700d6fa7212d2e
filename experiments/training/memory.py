"""What the C library does with memory that a step frees."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)
ALL = 2**31 - 1
LARGE = (2**30, 2**25)  # bytes; of older glibc the second is the most


def keep_freed_memory() -> None:
    """Lets glibc's malloc keep large blocks for the next step instead of giving them back to the system.

    Else each step asks for them anew, and the system fills every page with zeros first: up to a quarter of
    a training step on a CPU (docs/performance.md). For the whole process; elsewhere than on glibc nothing
    happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(TRIM_THRESHOLD, ALL)
    any(libc.mallopt(MMAP_THRESHOLD, size) for size in LARGE)
