"""`prepare`, killed at random moments and started again with the same command, ends in the same bytes."""

import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[3]
SHARDS = 3
# What a run comes to, in this order: it unpacks, it writes shards, all are written, it seals, it draws pictures.
UNPACKING, SHARD, ALL_SHARDS, SEALING, PICTURES = range(5)
FEW = [SHARD, PICTURES]
MANY = [UNPACKING] * 5 + [SHARD] * 4 + [ALL_SHARDS] * 4 + [SEALING] * 3 + [PICTURES] * 4


def command(source: pathlib.Path, data_dir: pathlib.Path) -> list[str]:
    flags = ["--dataset=dfc2020", f"--source={source}", f"--data_dir={data_dir}", "--workers=2"]
    return [sys.executable, "launch.py", "prepare", *flags]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def done(data_dir: pathlib.Path) -> pathlib.Path:
    return data_dir / "dfc2020" / "1.0.0"


def shards(data_dir: pathlib.Path) -> int:
    """How many a stopped run has finished."""
    return len(list(done(data_dir).with_name("1.0.0.incomplete").glob("dfc2020-*")))


def reached(data_dir: pathlib.Path) -> int:
    """How many of the five the files show to be reached."""
    incomplete, written = done(data_dir).with_name("1.0.0.incomplete"), shards(data_dir)
    seen = (incomplete.exists(), written > 0, written == SHARDS, (incomplete / "refused.csv").exists())
    return PICTURES + 1 if done(data_dir).exists() else sum(seen)


def watch(run: subprocess.Popen, data_dir: pathlib.Path) -> list[float]:
    """Seconds from the start to each of the five, and to the end."""
    start, at = time.monotonic(), []
    while run.poll() is None:
        at += [time.monotonic() - start] * (reached(data_dir) - len(at))
        time.sleep(0.001)
    assert run.returncode == 0
    return [*at, time.monotonic() - start]


def kill(run: subprocess.Popen, data_dir: pathlib.Path, where: int, part: float, at: list[float]) -> bool:
    """Kills a run when this part of the time between `where` and what follows it has passed.

    Kills it at once when what follows comes sooner. A run that goes on where more than `where` was reached already is
    killed in the time from the first thing it does. Returns whether it still ran.
    """
    start, found = time.monotonic(), reached(data_dir)
    begin = where if found <= where else UNPACKING
    while run.poll() is None and (reached(data_dir) <= begin or (found > begin and time.monotonic() - start < at[0])):
        time.sleep(0.001)
    moment = time.monotonic() + part * (at[where + 1] - at[begin])
    while run.poll() is None and time.monotonic() < moment and reached(data_dir) <= max(found, where + 1):
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)  # alone: its workers have to notice
    return run.wait() == -signal.SIGKILL


@pytest.fixture
def downloads(source) -> pathlib.Path:
    """Files and an archive, as people have them."""
    test = source / "ROIs0000_test"
    with zipfile.ZipFile(source / "test.zip", "w") as archive:
        for path in sorted(test.rglob("*.tif")):
            archive.write(path, path.relative_to(source))
    shutil.rmtree(test)
    return source


@pytest.mark.parametrize("moments", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"])
def test_killed_at_random_moments(downloads, tmp_path, moments):
    def start(data_dir: pathlib.Path) -> subprocess.Popen:
        return subprocess.Popen(
            command(downloads, data_dir), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def finish(data_dir: pathlib.Path) -> None:
        finished = subprocess.run(command(downloads, data_dir), cwd=ROOT, capture_output=True)
        assert finished.returncode == 0, finished.stderr.decode()
        assert contents(data_dir) == whole

    at = watch(start(tmp_path / "whole"), tmp_path / "whole")
    assert len(at) == PICTURES + 2
    whole = contents(tmp_path / "whole")
    assert {"dataset_info.json", "records.csv", "contact_sheet.png"} <= {pathlib.Path(name).name for name in whole}

    draws, data_dir = random.Random(len(moments)), tmp_path / "killed"
    killed, left = 0, []  # of each kill before the end of sealing: finished shards
    for where in moments if moments is FEW else draws.sample(moments, len(moments)):
        killed += kill(start(data_dir), data_dir, where, draws.uniform(0, 0.8), at)
        if done(data_dir).exists():  # only pictures may be missing; then begin anew
            assert (done(data_dir) / "dataset_info.json").exists()
            finish(data_dir)
            shutil.rmtree(data_dir)
        else:
            left.append(shards(data_dir))
    assert killed >= len(moments) // 2
    assert any(left)
    assert moments is FEW or len(left) >= 5
    finish(data_dir)
