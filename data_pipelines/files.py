"""Files that are there completely or not at all."""

import os
import pathlib
import platform


def temporary(path: pathlib.Path) -> pathlib.Path:
    """A hidden name beside a file for what will be renamed to it; of this process alone, on shared folders too."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it: a kill leaves the old file or the whole new one."""
    begun = temporary(path)
    begun.write_text(text, encoding="utf-8")
    begun.replace(path)
