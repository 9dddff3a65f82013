"""The run's clock: where the time went, over restarts, and how long the rest will take."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds by activity ("train", "evaluate", "checkpoint", "compile", "data"); saved with every checkpoint."""

    def __init__(self, seconds: dict[str, float] | None = None):
        self.seconds = dict(seconds or {})
        self._mark = time.perf_counter()

    @contextlib.contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Adds the time inside to `activity`, and keeps it out of the rate."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.seconds[activity] = self.seconds.get(activity, 0.0) + spent
        self._mark += spent

    def tick(self, examples: float) -> float:
        """Examples per second of training since the last tick."""
        now = time.perf_counter()
        spent = now - self._mark
        self._mark = now
        self.seconds["train"] = self.seconds.get("train", 0.0) + spent
        return examples / max(spent, 1e-9)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
