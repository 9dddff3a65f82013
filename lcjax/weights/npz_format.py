"""Weights in the format of numpy.savez."""

import io
import math
import pathlib
import tokenize
import zipfile

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.weights.entries import TYPES, Entry
from lcjax.weights.recognition import AGAIN

_SUFFIX = ".npy"
_LONGEST = 10_000  # bytes of an array's header
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def listed(path: pathlib.Path, archive: zipfile.ZipFile) -> dict[str, Entry]:
    """Returns the arrays by name, unread.

    Raises:
      InputError: a member is no array of numbers, or its header says another size than it has.
    """
    entries = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(_SUFFIX)
        if name == info.filename:
            raise InputError(f"{path}: holds {info.filename!a:.60}; expected arrays of numpy alone (.npy)")
        entries[name] = _entry(path, archive, info)
    return entries


def _entry(path: pathlib.Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    with archive.open(info) as member:
        head = io.BytesIO(member.read(_LONGEST + 16))
    version = np.lib.format.read_magic(head)
    if version not in _READERS:
        raise InputError(
            f"{path}: {info.filename!a:.60}: version {version} of the format, expected 1.0 or 2.0; {AGAIN}"
        )
    try:
        shape, fortran, dtype = _READERS[version](head, max_header_size=_LONGEST)
    except (tokenize.TokenError, SyntaxError, MemoryError, RecursionError) as error:  # numpy reads it as Python's text
        raise ValueError(f"the header of {info.filename!a:.60}") from error
    if dtype.hasobject:
        raise InputError(
            f"{path}: {info.filename!a:.60}: Python objects, which are not read; expected an array of numbers"
        )
    if (native := dtype.newbyteorder("=")).name not in TYPES:
        raise InputError(
            f"{path}: {info.filename!a:.60}: numbers of type {dtype.str!a}, expected one of {', '.join(TYPES)}; numpy "
            "does not tell bfloat16 in its files: save that as .safetensors"
        )
    begin = head.tell()
    if min(shape, default=0) < 0 or begin + math.prod(shape) * dtype.itemsize != info.file_size:
        raise InputError(
            f"{path}: {info.filename!a:.60}: {info.file_size:,} bytes, expected those of {shape!a:.60}; {AGAIN}"
        )

    def read() -> np.ndarray:
        flat = np.frombuffer(archive.read(info), dtype, offset=begin)
        return flat.reshape(shape, order="F" if fortran else "C").astype(native, order="C", copy=False)

    return Entry(tuple(shape), native, read)
