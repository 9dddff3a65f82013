"""One works, the other is told who does; what a killed process leaves does not bar the way."""

import errno
import fcntl
import logging
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from data_pipelines.schema import locks
from data_pipelines.schema.errors import InputError

_HOLDER = """
import pathlib, sys, time
from data_pipelines.schema import locks
with locks.held(pathlib.Path(sys.argv[2]), "the thing", doing="making"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / ".lock"


def holder(path: pathlib.Path) -> subprocess.Popen:
    """A process that holds the lock until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, "verb", str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def held(path):
    return locks.held(path, "the thing", doing="making", instead="give another --output")


def test_the_second_is_told_who_holds_it_and_after_a_kill_goes_on(path):
    with holder(path) as process:
        with pytest.raises(InputError) as caught, held(path):
            pass
        said = str(caught.value)
        assert said.startswith(f"the thing: another process is making it (`-c verb`, process {process.pid} on ")
        assert platform.node() in said and said.endswith("wait for its end, or stop it, or give another --output")
        assert "\n" not in said and "disk" not in said and locks.is_held(path)
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    with held(path):
        assert str(os.getpid()) in path.read_text()
    assert not path.exists()


def test_it_ends_with_the_context_also_after_an_error(path):
    with pytest.raises(ZeroDivisionError), held(path):
        raise ZeroDivisionError
    assert not path.exists() and path.parent.is_dir() and not locks.is_held(path)
    with held(path), pytest.raises(InputError, match="another process is making it"), held(path):
        pass  # another context of one process is another holder
    with held(path):
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"host": 1}', "\xff" * 9000, '{"pid": true}'])
def test_a_holder_that_says_nothing_of_use_is_another_process(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with (
            pytest.raises(InputError, match="the thing: another process is at work on it; wait for its end"),
            held(path),
        ):
            pass


def test_a_file_that_its_holder_has_removed_is_no_lock(path, monkeypatch):
    """Between opening and locking the holder may remove the file, or the folder; whoever comes then makes a new one."""
    left, lock = [lambda: path.unlink(), lambda: shutil.rmtree(path.parent)], locks._lock

    def meddled(file):
        locked = lock(file)
        if left:
            left.pop()()
        return locked

    monkeypatch.setattr(locks, "_lock", meddled)
    with held(path):
        assert not left and path.exists()
        monkeypatch.setattr(locks, "_lock", lock)
        with pytest.raises(InputError), held(path):
            pass


def test_a_folder_that_was_renamed_takes_its_lock_along(path):
    with held(path):
        path.parent.rename(path.parent.with_name("whole"))
        with held(path):  # of a new folder
            pass
        path.parent.mkdir(exist_ok=True)
        path.write_text("of somebody else")
    assert path.read_text() == "of somebody else"


def test_of_many_at_once_one_works(path):
    inside, most, refused, lock = 0, 0, 0, threading.Lock()

    def work():
        nonlocal inside, most, refused
        for _ in range(100):
            try:
                with held(path):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    with lock:
                        inside -= 1
            except InputError:
                refused += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and refused < 800 and not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_storage_without_locks_is_warned_of_once(path, monkeypatch, caplog, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    locks._warn.cache_clear()
    with caplog.at_level(logging.WARNING, "lcjax.locks"):
        for _ in range(2):
            with held(path):
                pass
    (record,) = caplog.records
    assert "knows no locks" in record.getMessage() and str(path.parent) in record.getMessage()


def test_other_errors_are_errors(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), held(tmp_path / "file" / ".lock"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="symbolic links"), held(tmp_path / "link"):
        pass

    def flock(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken"), held(tmp_path / ".lock"):
        pass
