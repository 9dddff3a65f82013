"""Files that are there completely or not at all."""

import os
import pathlib


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it: a kill leaves the old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
