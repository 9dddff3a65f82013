"""What the C library does with the memory of arrays that are freed; all of it nothing where that is not glibc."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # mallopt(3), malloc.h of glibc
_LARGEST = (1 << 28, 1 << 25)  # bytes of an array whose memory is kept; glibc before 2.35 takes the second at most
_NOTHING_IS_HANDED_BACK = -1


def keep_freed() -> None:
    """Keeps the memory of freed arrays for the next ones.

    glibc maps every array of megabytes from the kernel and hands it back, so each record that is read costs a thousand
    page faults (docs/input_speed.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, _NOTHING_IS_HANDED_BACK)


def keep_all() -> None:
    """Keeps that of arrays of any size, which the main thread has taken, for a program that takes them again and again.

    The arrays of a training step are gigabytes, which the kernel would map and clear anew for each
    (docs/performance.md). Other threads have room for 64 MB, and map what is larger.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NOTHING_IS_HANDED_BACK)
