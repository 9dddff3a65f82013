"""Checksums of the files of a folder, to find files that changed after they were written.

The reader of checkpoints notices files that are missing or cut off, but not a wrong bit among the numbers.
"""

import json
import pathlib
import zlib
from collections.abc import Iterable
from typing import TypedDict

from data_pipelines.schema import names, schema_version, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.typed_json import Count
from lcjax.runs import SCHEMA_VERSION

FILE = "checksums.json"
_CHUNK = 1 << 24  # bytes read at a time


class _Sums(TypedDict):
    """What checksums.json holds: name of a file -> its size and its CRC-32."""

    files: dict[str, tuple[Count, Count]]


def below(folder: pathlib.Path, exclude: tuple[str, ...] = ()) -> list[str]:
    """Names of all files below a folder, without those that are called as one of `exclude`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (FILE, *exclude))
    return [path.relative_to(folder).as_posix() for path in files]


def write(folder: pathlib.Path, files: Iterable[str]) -> None:
    """Writes checksums.json: size and CRC-32 of files of a folder.

    Args:
      folder: to describe, and to write to.
      files: their names, relative to it.
    """
    sums = {name: _size_and_crc(folder / name) for name in files}
    write_atomically(folder / FILE, json.dumps(schema_version.stamp({"files": sums}, SCHEMA_VERSION), indent=1))


def damage(folder: pathlib.Path) -> str:
    """Returns the first difference from checksums.json in a few words, or "" where nothing has changed.

    A file that cannot be read as one of checksums is damage, too: an earlier checkpoint may be whole.

    Raises:
      InputError: checksums.json is of another schema_version.
    """
    if not (folder / FILE).is_file():
        return f"{FILE} is missing"
    remedy = "put back what it was"
    try:
        fields = typed_json.parse(typed_json.content(folder / FILE, remedy, "checksums"), FILE, remedy)
    except InputError:
        return f"{FILE} cannot be read"
    fields = schema_version.check(fields if isinstance(fields, dict) else {}, SCHEMA_VERSION, folder / FILE, remedy)
    try:
        noted = typed_json.convert(fields, _Sums, FILE, remedy)["files"]
    except InputError as error:
        return f"{error}".removesuffix(f"; {remedy}")
    for name, (size, checksum) in noted.items():
        path = folder / name
        if not names.is_inside(name):
            return f"{FILE} names {name!a:.60}, which is not below the folder"
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} holds {path.stat().st_size:,} bytes, expected {size:,}"
        if _size_and_crc(path) != [size, checksum]:
            return f"{name} holds other bytes than were written"
    return ""


def covers(folder: pathlib.Path, name: str) -> bool:
    """Whether checksums.json, in which `damage` found nothing wrong, names a file; others are left from before."""
    remedy = "put back what it was"
    fields = schema_version.read_json(folder / FILE, _Sums, SCHEMA_VERSION, remedy)
    return name in fields["files"]


def _size_and_crc(path: pathlib.Path) -> list[int]:
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return [size, checksum]
