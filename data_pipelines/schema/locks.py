"""Locks on what one process writes: another one is told who is at work instead of writing into the same files.

A lock is a small file that says who holds it, and a lock of the operating system on it (flock). That ends with the
process, however it ends: what a killed process leaves does not bar the way. The file is removed when the work is done.
"""

import contextlib
import datetime
import errno
import fcntl
import functools
import json
import logging
import os
import pathlib
import platform
import sys
import time
from collections.abc import Iterator
from typing import IO

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError

_log = logging.getLogger("lcjax.locks")

_TAKEN = (errno.EAGAIN, errno.EACCES)  # another one holds it
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # storage that knows no locks
_POLL = 0.05  # seconds
_LONGEST = 4096  # bytes of a lock's file that are read
_FIELDS = {"host": str, "pid": int, "command": str, "doing": str, "since": str}


@contextlib.contextmanager
def held(path: pathlib.Path, subject: object, *, doing: str, instead: str = "", patience: float = 0) -> Iterator[None]:
    """Holds a lock for the time of the context; its folder is made where there is none.

    On storage that knows no locks it warns once, and goes on.

    Args:
      path: of the lock's file, of this lock alone.
      subject: what is written, for the message: a folder or a file.
      doing: what the holder does with it, as in "another process is DOING it".
      instead: what else the second one can do, as in "or give another --output".
      patience: seconds to wait for the holder to end.

    Raises:
      InputError: another process holds it, and has not ended in time; says which.
      OSError: the file cannot be made.
    """
    with _locked(path, subject, instead, time.monotonic() + patience) as file:
        _sign(file, doing)
        try:
            yield
        finally:
            if _is_at(path, file):  # while it is, nobody else can have the lock
                path.unlink()


def is_held(path: pathlib.Path) -> bool:
    """Whether another process, or another context of this one, holds the lock at this moment."""
    try:
        with path.open("r+") as file:
            return not _lock(file)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(path: pathlib.Path, subject: object, instead: str, end: float) -> Iterator[IO[str]]:
    """The locked file, which is the one that lies at `path`: the holder before may have removed the one opened."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _open(path)
        except FileNotFoundError:  # the folder was removed in between
            continue
        with file:
            if not _lock(file):
                if time.monotonic() < end:
                    time.sleep(_POLL)
                    continue
                raise InputError(
                    f"{subject}: {_holder(file)}; wait for its end, or stop it{', or ' if instead else ''}{instead}"
                )
            if _is_at(path, file):
                yield file
                return


def _open(path: pathlib.Path) -> IO[str]:
    """Opens no link: in a folder of somebody else it could lead to any file."""
    return open(path, "a+", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def _lock(file: IO[str]) -> bool:
    """Locks a file, without waiting; False where another one holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _WITHOUT:
            raise
        _warn(str(pathlib.Path(file.name).parent), os.strerror(error.errno))
    return True


@functools.cache
def _warn(folder: str, reason: str) -> None:
    _log.warning(
        f"{folder}: the storage knows no locks ({reason}), so nothing keeps two processes apart there; start one at a "
        "time"
    )


def _is_at(path: pathlib.Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sign(file: IO[str], doing: str) -> None:
    """Writes who holds the lock."""
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:2]]) if sys.argv else "python"
    holder = {"host": platform.node(), "pid": os.getpid(), "command": command[:80], "doing": doing, "since": now}
    file.truncate(0)
    file.write(json.dumps(holder))
    file.flush()


def _holder(file: IO[str]) -> str:
    """Who holds the lock, as far as its file tells."""
    file.seek(0)
    try:
        holder = typed_json.parse(file.read(_LONGEST), "the lock", "")
    except InputError:  # it has not signed yet
        holder = {}
    if not isinstance(holder, dict) or any(type(holder.get(key)) is not kind for key, kind in _FIELDS.items()):
        return "another process is at work on it"
    told = "another process is {doing} it (`{command}`, process {pid} on {host}, since {since})".format(**holder)
    return "".join(letter for letter in told if letter.isprintable())
