"""Two processes on one workdir, one map, one data set, one export: one works, the other says who does, in one line.

The holder is a process that takes the lock and waits; after a SIGKILL the same command goes on.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import launched
import pytest
import worlds

from data_pipelines.schema import locks, on_disk
from data_pipelines.schema.errors import InputError
from lcjax.mapping import drafts
from lcjax.runs import workdir

_HOLDER = """
import pathlib, sys, time
from data_pipelines.schema import locks
with locks.held(pathlib.Path(sys.argv[1]), "the other", doing="writing"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def busy(lock: pathlib.Path) -> Iterator[subprocess.Popen]:
    """Another process holds the lock, and is killed in the end."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
    assert lock.exists()


def check_refused(command, lock: pathlib.Path, *arguments: str) -> str:
    """The verb ends with one line while another process holds the lock, and goes on when that was killed."""
    with busy(lock) as holder:
        code, _, cried = command(*arguments)
        said = [line for line in cried if line.startswith(f"lcjax {arguments[0]}: ")]
        assert code == 2 and len(said) == 1 and cried[-1] == said[0], cried
        assert "another process is writing it (`-c " in said[0] and f"process {holder.pid} on " in said[0]
        assert "wait for its end, or stop it, or " in said[0] and "disk" not in said[0]
    code, _, cried = command(*arguments)
    assert code == 0, cried
    assert not lock.exists() and not locks.is_held(lock)
    return said[0]


def test_predict(trained, tmp_path, command):
    world, output = worlds.make(tmp_path), tmp_path / "maps" / "map.tif"
    lock = drafts.folder_of(output) / "lock"
    check_refused(
        command, lock, "predict", f"--workdir={trained}", f"--scene={world.text}", "--grid=s2", f"--output={output}"
    )
    assert output.exists() and not drafts.folder_of(output).exists()


def test_train(trained, data_dir, tmp_path):
    """The run has ended: to train it again only says so."""
    from networks import small

    from lcjax.configs import dfc2020
    from lcjax.training.run import train

    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    before = sorted(path.name for path in trained.rglob("*"))
    with busy(trained / workdir.LOCK) as holder, pytest.raises(InputError) as caught:
        train(config, trained)
    said = str(caught.value)
    assert said.startswith(f"{trained}: another process is writing it") and f"process {holder.pid} on " in said
    assert said.endswith("or choose another --workdir") and "\n" not in said
    assert sorted(path.name for path in trained.rglob("*")) == sorted([*before, workdir.LOCK])
    assert train(config, trained).ended and not (trained / workdir.LOCK).exists()


def test_prepare(sample, tmp_path, command):
    folder = on_disk.incomplete(on_disk.folder_of("sample", "1.0.0", tmp_path))
    lock = folder / ".parts" / "lock"
    check_refused(command, lock, "prepare", "--dataset=sample", f"--source={sample}", f"--data_dir={tmp_path}")
    assert not folder.exists()


def test_export(trained, tmp_path, command):
    lock = tmp_path / ".network.lock"
    check_refused(command, lock, "export", f"--workdir={trained}", f"--output={tmp_path / 'network'}")
    assert os.listdir(tmp_path) == ["network"]


def test_evaluate(trained, command):
    lock = trained / "evaluation" / "validation" / workdir.LOCK
    said = check_refused(command, lock, "evaluate", f"--workdir={trained}", "--split=validation")
    assert said.endswith("or score a copy of the workdir")
    assert (lock.parent / "metrics.json").exists()


def _wait(path: pathlib.Path, process: subprocess.Popen, timeout: float = 240) -> None:
    end = time.monotonic() + timeout
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < end, f"no {path} in time"
        time.sleep(0.005)


@pytest.mark.slow
def test_several_processes_of_one_run_are_refused_together(data_dir, tmp_path):
    with busy(tmp_path / "run" / workdir.LOCK) as holder:
        ended = launched.run(launched.training(tmp_path / "run", data_dir), processes=2)
    assert [code for code, *_ in ended] == [2, 2]
    assert f"process {holder.pid} on " in ended[0][2] and os.listdir(tmp_path / "run") == [workdir.LOCK]


@pytest.mark.slow
def test_real_verbs_beside_each_other(trained, data_dir, sample, tmp_path):
    """The second of two trainings and of two maps says that the first is at work; what the first makes is right."""
    arguments = launched.training(tmp_path / "run", data_dir)
    (first,) = launched.start(arguments)
    _wait(tmp_path / "run" / workdir.LOCK, first)
    ((code, _, cried),) = launched.run(arguments)
    assert code == 2 and f"another process is training in it (`launch.py train`, process {first.pid} on" in cried
    ((code, *_),) = launched.finish([first])
    assert code == 0 and launched.saved(tmp_path / "run") == 12

    world = worlds.make(tmp_path)
    for name, stays in (("whole", True), ("map", False)):
        output = tmp_path / "maps" / f"{name}.tif"
        arguments = ["predict", f"--workdir={trained}", f"--scene={world.text}", f"--output={output}"]
        (first,) = launched.start(arguments)
        if not stays:
            _wait(drafts.folder_of(output) / "lock", first)
            ((code, _, cried),) = launched.run(arguments)
            assert code == 0 or f"another process is writing it (`launch.py predict`, process {first.pid}" in cried
        ((code, *_),) = launched.finish([first])
        assert code == 0
    whole, other = (tmp_path / "maps" / f"{name}.areas.csv" for name in ("whole", "map"))
    assert whole.read_bytes() == other.read_bytes()
    shutil.rmtree(tmp_path / "maps")
