"""Progress of what takes long: a bar at a terminal and in a notebook, else a line now and then for a log file."""

import io
import logging
import sys
import time
from typing import Any

from tqdm import tqdm

_log = logging.getLogger("lcjax.progress")

SECONDS = 15.0  # between two lines
_FORMAT = "{desc}: {n_fmt} of {total_fmt}{unit}, {rate_fmt}, {remaining} left"
_ENDLESS = "{desc}: {n_fmt}{unit}, {rate_fmt}"


class Lines(tqdm):
    """As tqdm, but logs a line every `SECONDS` in place of drawing a bar; what is done before that says nothing."""

    def __init__(self, *args: Any, **options: Any):
        self._said = time.monotonic()
        drawn = io.StringIO()  # what tqdm would draw goes nowhere
        super().__init__(*args, **options | {"mininterval": SECONDS, "leave": False, "file": drawn})
        self.bar_format = _FORMAT if self.total else _ENDLESS

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Logs how far it is, if that was long ago."""
        del msg, pos
        if time.monotonic() - self._said < SECONDS:
            return False
        self._said = time.monotonic()
        _log.info(str(self))
        return True


def bar(*args: Any, **options: Any) -> tqdm:
    """Shows progress; arguments as of tqdm: an iterable or `total`, with `desc` and `unit`, such as " tiles" or "B"."""
    return (tqdm if _is_watched() else Lines)(*args, **options)


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
