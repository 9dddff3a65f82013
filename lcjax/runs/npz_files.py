"""Arrays of an npz, read with limits: sizes that a file tells of itself are not believed."""

import io
import math
import pathlib
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema import limits, typed_json
from data_pipelines.schema.errors import InputError


def read(
    path: pathlib.Path, names: Sequence[str], what: str, limit: int, remedy: str, may_lack: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Reads arrays of these names.

    Args:
      path: of the npz.
      names: of the arrays; others are passed over.
      what: it holds, for messages.
      limit: bytes that one array may have.
      remedy: what to do about a file that cannot be read.
      may_lack: names of arrays that are read where they are there.

    Raises:
      InputError: the file is none of that, lacks an array, or is larger than it may be.
    """
    content = typed_json.content(path, remedy, f"{what} of an evaluation", limits.JSON_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            there = [*names, *(name for name in may_lack if f"{name}.npy" in archive.namelist())]
            return {name: _array(archive, f"{name}.npy", limit) for name in there}
    except (
        ValueError,
        KeyError,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path}: not readable {what} ({reason}); {remedy}") from error


def write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a compressed npz under a temporary name, and renames it."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # its stub takes no mapping
    temporary.replace(path)


def _array(archive: zipfile.ZipFile, name: str, limit: int) -> np.ndarray:
    """An array of an npz. Raises ValueError where it is larger than it says, or than it may be."""
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ValueError(f"{name}: {size:,} bytes, expected at most {limit:,}")
    stream = io.BytesIO(archive.read(name))
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != size - stream.tell():
        raise ValueError(f"{name}: an array of {shape} {dtype} in {size:,} bytes")
    stream.seek(0)
    return np.load(stream, allow_pickle=False)
