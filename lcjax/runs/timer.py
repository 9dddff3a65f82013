"""The clock of one start of a run: where the time goes, and how long the rest will take."""

import contextlib
import time
from collections.abc import Iterator


class Timer:
    """Seconds by activity: those that are measured, and "step" for the time between them."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
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
        before = self.seconds.get("step", 0.0)
        self.seconds = self.spent()
        self._mark = time.perf_counter()
        return examples / max(self.seconds["step"] - before, 1e-9)

    def spent(self) -> dict[str, float]:
        """Seconds by activity up to now."""
        return self.seconds | {"step": self.seconds.get("step", 0.0) + time.perf_counter() - self._mark}


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
