"""The side of a comparison that runs in a process of its own, and computes only when it is asked to.

It says {"ready": seconds of building and compiling, "parameters": count} when it could begin. Then it answers each
line "N" on standard input with the milliseconds of N calls, and ends with its input.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(build: Callable[[], tuple[Callable[[], Any], int]], before: Callable[[], Any] = lambda: None) -> None:
    """Answers until the input ends.

    Args:
      build: returns a call that ends when its result is there, and the number of parameters.
      before: what is done before each call, and not timed.
    """
    start = time.perf_counter()
    call, parameters = build()
    for _ in range(2):
        before()
        call()
    _say({"ready": time.perf_counter() - start, "parameters": parameters})
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            before()
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
        _say(times)


def _say(what) -> None:
    print("\x1e" + json.dumps(what), flush=True)  # a mark that nothing else prints
