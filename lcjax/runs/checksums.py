"""Checksums of the files of a folder: whether they are still what was written.

What reads checkpoints finds files that are missing or cut off, but not a wrong bit among the numbers.
"""

import json
import pathlib
import zlib

from data_pipelines.schema.files import write_atomically

FILE = "checksums.json"
_PIECE = 1 << 24  # bytes read at a time


def write(folder: pathlib.Path, but: tuple[str, ...] = ()) -> None:
    """Notes size and CRC-32 of every file of a folder in it, but of those of these names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (FILE, *but))
    found = {str(path.relative_to(folder)): _of(path) for path in files}
    write_atomically(folder / FILE, json.dumps(found, indent=1))


def damage(folder: pathlib.Path) -> str:
    """What is not as it was noted, in a few words; "" where all is."""
    try:
        noted = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return f"{FILE} is missing"
    except ValueError:
        return f"{FILE} cannot be read"
    for name, (size, checksum) in noted.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} holds {path.stat().st_size:,} bytes, expected {size:,}"
        if _of(path) != [size, checksum]:
            return f"{name} holds other bytes than were written"
    return ""


def _of(path: pathlib.Path) -> list[int]:
    size = checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    return [size, checksum]
