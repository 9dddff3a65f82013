"""Ctrl-C reaches every process of a terminal at once; one line is said, and the same command goes on."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from downloads import write_patch

ROOT = pathlib.Path(__file__).parents[3]
# What runs in the background of a script has Ctrl-C switched off, and so have its children.
LISTENING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path("launch.py", run_name="__main__")
"""


def test_interrupted_by_ctrl_c(tmp_path):
    for patch in range(120):  # several shards for each of two workers
        write_patch(tmp_path / "source", "ROIs0000_validation", patch)
    flags = ["--dataset=dfc2020", f"--source={tmp_path / 'source'}", f"--data_dir={tmp_path / 'data'}", "--workers=2"]
    command = [sys.executable, "-c", LISTENING, "prepare", *flags]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    parts = tmp_path / "data" / "dfc2020" / "1.0.0.incomplete" / ".parts"
    working: set[str] = set()
    while (
        len(working) < 2 and run.poll() is None
    ):  # both workers are at work; a file's temporary name ends in who writes
        working |= {path.name.rpartition(".")[2] for path in parts.glob(".*.array_record-*")}
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said.decode()
    assert "Traceback" not in said.decode()
    assert said.decode().splitlines()[-1].endswith("interrupted; the same command goes on where it was")
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
