"""Files: found below a folder, opened if they are files, written so that they are there completely or not at all."""

import contextlib
import functools
import logging
import os
import pathlib
import platform
import shutil
import stat
from collections.abc import Iterator
from typing import BinaryIO

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError

_log = logging.getLogger("lcjax.data")


def below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """All files below a folder, in a fixed order, without what is hidden and what macOS leaves; none where it is not.

    The folder itself may be a link. Links to folders below it are not followed, for one may lead to its own parent, or
    to what nobody means; they are counted in a warning. Links to files are files.

    Raises InputError for a folder that cannot be listed, or that lies deeper than `limits.FOLDER_DEPTH`: what is in it
    would be missing without a word.
    """
    if not folder.exists():
        return

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}; expected a folder that can be listed") from error

    links: list[str] = []
    for here, folders, names in os.walk(folder, onerror=fail):
        wanted = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        linked = [name for name in wanted if os.path.islink(os.path.join(here, name))]
        links += [os.path.join(here, name) for name in linked]
        folders[:] = [name for name in wanted if name not in linked]
        if folders and len(pathlib.Path(here).relative_to(folder).parts) >= limits.FOLDER_DEPTH:
            raise InputError(
                f"{here}: {limits.FOLDER_DEPTH} folders within each other and more; expected fewer; name a folder "
                "further down, or move what is in it up"
            )
        yield from (pathlib.Path(here, name) for name in sorted(names) if not name.startswith("."))
    if links:
        _tell_of_links(
            f"{folder}: {len(links)} links to folders are not followed (the first: {links[0]} -> "
            f"{os.readlink(links[0])}); what is behind them, if it is wanted, must lie there itself"
        )


@functools.cache  # a folder is walked once for archives and once for files
def _tell_of_links(text: str) -> None:
    _log.warning(text)


def open_regular(path: pathlib.Path) -> BinaryIO:
    """Opens a file for reading; it may be a link to one.

    Raises InputError for what is not there or cannot be opened, and for pipes, devices, sockets and folders, which
    could wait for ever, or never end.
    """
    try:
        # Not to wait for the other end of a pipe. Of a file it says nothing.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a file that can be read") from error
    except ValueError as error:  # NUL in its name
        raise InputError(f"{str(path)!r}: {error}; expected the name of a file") from error
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise InputError(f"{path}: {kind_of(mode)}; expected a file; remove it, or name another one")
    return os.fdopen(number, "rb")


def read_whole(path: pathlib.Path, most: int) -> bytes:
    """Reads a file of at most `most` bytes.

    Raises InputError for a larger one, and as `open_regular` does.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path}: larger than {most / 2**20:,.0f} MB; expected less; is it the right file?")
    return content


def kind_of(mode: int) -> str:
    """What a file is by its mode: "a folder", "a pipe", ..., "a file"."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a file")


def temporary(path: pathlib.Path) -> pathlib.Path:
    """A hidden name beside a file for what will be renamed to it; of this process alone, on shared folders too."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that gets its name when it is complete; `path` is not there, or an empty folder.

    Yields a draft beside it, to be filled within the context. An error leaves neither; of a kill a draft stays, which
    the next one removes.
    """
    whole = path.absolute()
    draft = whole.with_name(f".{whole.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.replace(whole)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_atomically(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it: a kill leaves the old file or the whole new one."""
    begun = temporary(path)
    begun.write_bytes(content.encode() if isinstance(content, str) else content)
    begun.replace(path)
