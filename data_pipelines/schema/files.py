"""Files: found below a folder, and written so that they are there completely or not at all."""

import os
import pathlib
import platform
from collections.abc import Iterator

from data_pipelines.schema.errors import InputError


def below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """All files below a folder, in a fixed order, without what is hidden and what macOS leaves; none where it is not.

    Raises InputError for a folder that cannot be listed: what is in it would be missing without a word.
    """
    if not folder.exists():
        return

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}; expected a folder that can be listed") from error

    for here, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        yield from (pathlib.Path(here, name) for name in sorted(names) if not name.startswith("."))


def temporary(path: pathlib.Path) -> pathlib.Path:
    """A hidden name beside a file for what will be renamed to it; of this process alone, on shared folders too."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it: a kill leaves the old file or the whole new one."""
    begun = temporary(path)
    begun.write_text(text, encoding="utf-8")
    begun.replace(path)
