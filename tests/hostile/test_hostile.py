"""The corpus: 30 of its inputs here, all of them in `make soak`; tests/hostile/hostile.py --only=NAME runs one."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("hostile.py")


@pytest.mark.parametrize("count", [30, pytest.param(0, marks=pytest.mark.slow)])
def test_no_hostile_input_harms(tmp_path, count):
    # A process of its own: this one has begun to compute with JAX, and may not be forked.
    left_out = ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"--count={count}", f"--keep={tmp_path}"],
        env=environment, capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    tail = done.stdout[-8000:] + done.stderr[-3000:]
    assert done.returncode == 0 and re.search(r"^0 faults in \d\d+ inputs", done.stdout, re.MULTILINE), tail
