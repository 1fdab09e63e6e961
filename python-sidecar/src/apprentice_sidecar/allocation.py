"""Memory of large tensors between their uses, where the C library is glibc.

By itself glibc gives each thread a heap of its own and hands the memory of each large tensor back to the system when it
is freed, to get it again, as zeroed pages, for the next one. Here all threads have one heap, which keeps what is freed
until a job is over: a fifth less memory at the peak of a job, a third less after it.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

#: Names of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
#: The largest threshold that glibc takes; larger tensors are still mapped each for itself.
_LARGEST_MAPPED = 32 * 1024 * 1024
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """For the whole process; to be called before it starts threads, as one heap for all is part of it."""
    library = _glibc()
    if library is None:
        return
    for option, value in (
        (_ARENA_MAX, 1),  # heaps of other threads are at most 64 MB, and shrink
        (_TRIM_THRESHOLD, _NEVER),
        (_TOP_PAD, 2 * _LARGEST_MAPPED),
        (_MMAP_THRESHOLD, _LARGEST_MAPPED),
    ):
        library.mallopt(option, value)


def hand_back_freed_memory() -> None:
    """What has been kept and is free goes back to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library of this process; None where it is another one."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
