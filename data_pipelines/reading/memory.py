"""What the C library does with the memory of arrays that are freed: ours to say where it is glibc and no user has."""

import ctypes
import os
from collections.abc import Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # mallopt(3), malloc.h of glibc
_LARGEST = (1 << 28, 1 << 25)  # bytes of an array whose memory is kept; glibc before 2.35 takes the second at most
_NOTHING_IS_HANDED_BACK = -1
# In the user's variables: MALLOC_TRIM_THRESHOLD_, GLIBC_TUNABLES=glibc.malloc.trim_threshold=...
_SETTINGS = ("mmap_threshold", "mmap_max", "trim_threshold")


def is_told(environment: Mapping[str, str]) -> bool:
    """Whether the user has said what memory is kept."""
    given = " ".join([environment.get("GLIBC_TUNABLES", ""), *environment]).lower()
    return any(name in given for name in _SETTINGS)


def keep_freed() -> None:
    """Keeps the memory of freed arrays for the next ones.

    glibc maps every array of megabytes from the kernel and hands it back, so each record that is read costs a thousand
    page faults (docs/input_speed.md).
    """
    mallopt = _mallopt()
    if mallopt and any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, _NOTHING_IS_HANDED_BACK)


def keep_all() -> None:
    """Keeps that of arrays of any size, which the main thread has taken, for a program that takes them again and again.

    The arrays of a training step are gigabytes, which the kernel would map and clear anew for each
    (docs/performance.md). Other threads have room for 64 MB, and map what is larger.
    """
    mallopt = _mallopt()
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NOTHING_IS_HANDED_BACK)


def _mallopt():
    """The function of glibc, where there is one and it is ours to call."""
    return None if is_told(os.environ) else getattr(ctypes.CDLL(None), "mallopt", None)
