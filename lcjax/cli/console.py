"""What the verbs print of what the library logs.

Everything in `lcjax` and `data_pipelines` that has a line for the person at the terminal logs it, in lines as they
should stand there:

    logging.getLogger("lcjax").info(f"{folder}: ended at step {step}")           # "runs/x: ended at step 300"
    logging.getLogger("lcjax").warning("the train split is empty of 'water'")     # "warning: the train split is ..."

The library itself prints nothing: who uses it from Python sets up `logging`, or attaches this. A verb prints all of it,
for `main` runs it within `attached()`, and so does a test that wants what the verb prints:

    with console.attached():
        train(...)

Of a run of several processes, process 0 prints everything and the others warnings alone, with their number before
them. What all processes would say alike is said by process 0: `multihost.shared_logger(__name__)`.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator

LOGGER = "lcjax"


class Console(logging.Handler):
    """Prints records to stdout, one a line, at once.

    Attributes:
      process: index of this process in its run.
    """

    def __init__(self, process: int = 0):
        super().__init__(logging.WARNING if process else logging.INFO)
        self.process = process

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record. Raises OSError where stdout is gone, as `print` does: the verb then ends."""
        kind = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        of = f"process {self.process}: " if self.process else ""
        print(f"{of}{kind}{record.getMessage()}", flush=True)


@contextlib.contextmanager
def attached(process: int = 0) -> Iterator[None]:
    """Prints what is logged under `lcjax`, and nothing twice, for as long as the context lasts.

    Within another such context it takes its place.

    Args:
      process: index of this process in its run.
    """
    logger = logging.getLogger(LOGGER)
    handler = Console(process)
    level, propagates, handlers = logger.level, logger.propagate, logger.handlers
    logger.handlers = [*(one for one in handlers if not isinstance(one, Console)), handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl puts a handler of its own on the root logger
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagates


@contextlib.contextmanager
def shown_in_notebooks() -> Iterator[None]:
    """Prints as `attached` does where a person looks on and has set up no logging of their own; else does nothing.

    That is in a notebook, and at Python's prompt.
    """
    looked_at = hasattr(sys, "ps1") or "ipykernel" in sys.modules
    own = [one for one in logging.getLogger(LOGGER).handlers if not isinstance(one, logging.NullHandler)]
    with attached() if looked_at and not own else contextlib.nullcontext():
        yield
