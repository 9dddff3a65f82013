"""Runs side by side, each on a core of its own: two small networks on a core each are faster than one on both."""

import concurrent.futures
import os
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def known() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """What `work` returns for each item, in the order in which they end.

    Args:
      work: starts programs and waits for them; they run on the core of the thread that calls it.
      items: begun in this order.
      jobs: how many at a time.

    Yields:
      each result. Where `work` raises, nothing further begins, and the error is raised when what runs has ended.
    """
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for job in range(jobs):
        cores.put(known()[job % len(known())])

    def settle() -> None:
        if hasattr(os, "sched_setaffinity"):  # of this thread alone, and of the programs that it starts
            os.sched_setaffinity(0, {cores.get()})

    with concurrent.futures.ThreadPoolExecutor(jobs, initializer=settle) as pool:
        begun = [pool.submit(work, item) for item in items]
        try:
            for one in concurrent.futures.as_completed(begun):
                yield one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
