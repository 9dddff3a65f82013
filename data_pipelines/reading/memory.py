"""What the C library does with the memory of arrays that are freed."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3), malloc.h of glibc
_LARGEST = (1 << 28, 1 << 25)  # bytes of an array whose memory is kept; glibc before 2.35 takes the second at most
_KEPT = 1 << 30  # bytes that are free and kept


def keep_freed() -> None:
    """Keeps the memory of freed arrays for the next ones; does nothing where the C library is not glibc.

    glibc maps every array of megabytes from the kernel and hands it back, so each record that is read costs a thousand
    page faults (docs/input_speed.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST):
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
