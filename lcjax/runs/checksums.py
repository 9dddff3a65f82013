"""Checksums of the files of a folder, to find files that changed after they were written.

The reader of checkpoints notices files that are missing or cut off, but not a wrong bit among the numbers.
"""

import json
import pathlib
import zlib

from data_pipelines.schema import schema_version
from data_pipelines.schema.files import write_atomically
from lcjax.runs import SCHEMA_VERSION

FILE = "checksums.json"
_CHUNK = 1 << 24  # bytes read at a time


def write(folder: pathlib.Path, exclude: tuple[str, ...] = ()) -> None:
    """Writes checksums.json: size and CRC-32 of every file below a folder.

    Args:
      folder: to describe, and to write to.
      exclude: names of files that are left out.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (FILE, *exclude))
    sums = {str(path.relative_to(folder)): _size_and_crc(path) for path in files}
    write_atomically(folder / FILE, json.dumps(schema_version.stamp({"files": sums}, SCHEMA_VERSION), indent=1))


def damage(folder: pathlib.Path) -> str:
    """Returns the first difference from checksums.json in a few words, or "" where nothing has changed.

    Raises:
      InputError: checksums.json is of another schema_version.
    """
    try:
        noted = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return f"{FILE} is missing"
    except ValueError:
        return f"{FILE} cannot be read"
    for name, (size, checksum) in schema_version.check(noted, SCHEMA_VERSION, folder / FILE)["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} holds {path.stat().st_size:,} bytes, expected {size:,}"
        if _size_and_crc(path) != [size, checksum]:
            return f"{name} holds other bytes than were written"
    return ""


def _size_and_crc(path: pathlib.Path) -> list[int]:
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return [size, checksum]
