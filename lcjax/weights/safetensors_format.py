"""Weights in the format of safetensors."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from data_pipelines.schema import files, limits, typed_json
from data_pipelines.schema.errors import InputError
from lcjax.weights.entries import Entry
from lcjax.weights.recognition import AGAIN

_TYPES = {
    code: np.dtype(dtype)
    for code, dtype in {
        "F64": "float64", "F32": "float32", "F16": "float16", "BF16": jnp.bfloat16, "BOOL": "bool",
        "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
        "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    }.items()
}  # fmt: skip


def listed(path: pathlib.Path, file: BinaryIO, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Returns the arrays by name, unread, and the metadata of the header.

    Raises:
      InputError: the header is longer than the file or the limit, or is none.
      safetensors.SafetensorError: the library refuses the file, when the first array is read.
    """
    header = _header(path, file, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: __metadata__: expected text by name; {AGAIN}")

    @functools.cache
    def arrays() -> dict[str, np.ndarray]:
        file.seek(0)
        return {name: _array(found) for name, found in safetensors.deserialize(file.read())}

    entries = {}
    for name, said in header.items():
        code, shape = (said.get("dtype"), said.get("shape")) if isinstance(said, dict) else (None, None)
        if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
            raise InputError(f"{path}: {name!a:.60}: found the shape {shape!a:.60}, expected a list of sizes; {AGAIN}")
        if code not in _TYPES:
            raise InputError(
                f"{path}: {name!a:.60}: numbers of type {code!a:.20}, expected one of {', '.join(_TYPES)}; save it in "
                "one of them"
            )
        entries[name] = Entry(tuple(shape), _TYPES[code], lambda name=name: arrays()[name])  # type: ignore[misc]
    return entries, metadata


def _header(path: pathlib.Path, file: BinaryIO, size: int) -> dict[str, Any]:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, limits.WEIGHTS_HEADER):
        raise InputError(
            f"{path}: says that its header has {length:,} bytes; expected at most {limits.WEIGHTS_HEADER:,}, in a file "
            f"of {size:,}; it is cut off or damaged: {AGAIN}"
        )
    header = typed_json.parse(file.read(length), path, AGAIN)
    if not isinstance(header, dict):
        raise InputError(f"{path}: its header is no object; expected arrays by name; {AGAIN}")
    return header


def _array(found: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(found["data"], _TYPES[found["dtype"]]).reshape(found["shape"])


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], key: str, text: str) -> None:
    """Writes arrays by name, and one text of metadata, in the same bytes each time; under its name when it is whole.

    Args:
      path: of the file.
      arrays: by name.
      key, text: of the metadata; one, for the library writes several in an order of chance.
    """
    dense = {name: np.require(array, requirements=["C", "ALIGNED"]) for name, array in arrays.items()}
    # Not save_file, whose files nobody else may read.
    files.write_atomically(path, safetensors.numpy.save(dense, metadata={key: text}))
