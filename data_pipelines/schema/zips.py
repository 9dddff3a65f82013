"""Zips of strangers, opened once their table of contents is known to be of a size to be expected."""

import lzma
import os
import pathlib
import struct
import zipfile
import zlib
from typing import BinaryIO

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError

# What the library raises for damaged bytes.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, ValueError, OverflowError),
)
_END = 22 + 65_535 + 20 + 56  # bytes at the end of a zip that may hold the size of its table of contents


def opened(path: pathlib.Path, raw: BinaryIO, remedy: str) -> zipfile.ZipFile:
    """Opens a zip.

    Args:
      path: of it, for the message.
      raw: the file, opened for reading.
      remedy: what to do about one whose table of contents is too large.

    Raises:
      InputError: zipfile, which reads the table of contents whole, would take too much memory for it.
    """
    raw.seek(0, os.SEEK_END)
    raw.seek(max(0, raw.tell() - _END))
    end = raw.read()
    here = end.rfind(b"PK\5\6")
    size = int.from_bytes(end[here + 12 : here + 16], "little") if here >= 0 else 0
    if (large := end.rfind(b"PK\6\6", 0, max(here, 0))) >= 0:  # as zips beyond 4 GB have it
        size = max(size % 0xFFFFFFFF, int.from_bytes(end[large + 40 : large + 48], "little"))
    if size > limits.LISTING_BYTES:
        raise InputError(
            f"{path}: a table of contents of {size:,} bytes, expected at most {limits.LISTING_BYTES:,}; {remedy}"
        )
    raw.seek(0)
    return zipfile.ZipFile(raw)
