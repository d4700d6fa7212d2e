"""Makes the C library keep the memory that a training step frees."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)
ALL = 2**31 - 1
LARGE = (2**30, 2**25)  # bytes; older glibc accepts at most the second


def keep_freed_memory() -> None:
    """Lets glibc's malloc keep large blocks for the next step instead of returning them to the system.

    Otherwise each step requests them again, and the system first fills every page with zeros: up to a quarter
    of a training step on a CPU (docs/performance.md). It holds for the whole process. With another C library
    than glibc it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(TRIM_THRESHOLD, ALL)
    any(libc.mallopt(MMAP_THRESHOLD, size) for size in LARGE)
