"""Where the wall time of a process goes."""

import contextlib
import time
from collections.abc import Iterator


class Timer:
    """Counts seconds by activity.

    Attributes:
      seconds: activity -> seconds up to the last `tick` or `measure`; "step" is the time that no activity measured.
    """

    def __init__(self) -> None:
        """Starts the clock."""
        self.seconds: dict[str, float] = {}
        self._mark = time.perf_counter()

    @contextlib.contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Adds the time spent in the context to `activity`, and keeps it out of the rate of `tick`."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.seconds[activity] = self.seconds.get(activity, 0.0) + spent
        self._mark += spent

    def tick(self, examples: float) -> float:
        """Returns the examples per second of step time since the last tick.

        Args:
          examples: processed since the last tick.
        """
        before = self.seconds.get("step", 0.0)
        self.seconds = self.spent()
        self._mark = time.perf_counter()
        return examples / max(self.seconds["step"] - before, 1e-9)

    def spent(self) -> dict[str, float]:
        """Returns seconds by activity up to now."""
        return self.seconds | {"step": self.seconds.get("step", 0.0) + time.perf_counter() - self._mark}


def duration(seconds: float) -> str:
    """Formats seconds as hours, minutes and seconds: "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
