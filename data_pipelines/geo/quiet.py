"""Rasters that do not lie on the Earth are opened without rasterio's warning of it."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

from rasterio.errors import NotGeoreferencedWarning

_OPENING = threading.Lock()


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Opens files without a warning where they do not lie on the Earth.

    Filters of warnings are not of one thread: enter it before threads are started, not in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def quietly() -> contextlib.AbstractContextManager:
    """Opens one file without that warning; in turn, unless it is off for the whole process, as `anywhere` has it."""
    off = ("ignore", None, NotGeoreferencedWarning, None, 0)
    return contextlib.nullcontext() if warnings.filters[:1] == [off] else _one_at_a_time()


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Does without any warning, in turn with what is opened: of libraries that warn of what is no concern of users."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with _OPENING, warnings.catch_warnings():
        # Another filter than that of `anywhere`: whoever sees this one must wait in turn.
        warnings.filterwarnings("ignore", "Dataset has no geotransform", NotGeoreferencedWarning)
        yield
