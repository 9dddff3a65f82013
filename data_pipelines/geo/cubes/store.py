"""Zarr stores of this machine: where one begins, which files it has, and whether its arrays may be read.

A store describes the codecs that turn its files into numbers. Only those of `CODECS` may run: some others call whatever
the file names (pickle). So all descriptions are looked at before anything is read.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits, typed_json
from data_pipelines.schema.files import kind_of
from data_pipelines.schema.spec import Refused

SUFFIX = ".zarr"
_ARRAY, _ATTRIBUTES, _THREE = ".zarray", ".zattrs", "zarr.json"  # of the formats 2 and 3
_SHARDS = "sharding_indexed"
_PACKERS = ("blosc", "zlib", "gzip", "zstd", "lz4", "lzma", "bz2")
_SUMS = ("crc32", "crc32c", "adler32", "fletcher32")
_FILTERS = ("shuffle", "delta", "fixedscaleoffset", "packbits", "astype", "bitround", "quantize", "vlen-utf8")
CODECS = frozenset({*_PACKERS, *_SUMS, *_FILTERS, "bytes", "transpose", _SHARDS})
_AGAIN = "write it anew with `to_zarr` of xarray"
_TYPE = re.compile(r"[<>|=]?([biufSUMmV])(\d+)(\[\w+\])?|\|O|(bool|u?int\d+|float\d+|string|null_terminated_bytes)")


def root_of(path: pathlib.Path) -> pathlib.Path | None:
    """The store that a path names, whole or an array in it; None where it names none."""
    if isinstance(path, Address):
        return None
    return next((part for part in (path, *path.parents) if part.suffix.lower() == SUFFIX and part.is_dir()), None)


def is_array(folder: pathlib.Path) -> bool:
    """Whether a folder of a store is an array, and no group of them."""
    if (folder / _ARRAY).is_file():
        return True
    return (folder / _THREE).is_file() and _read(folder / _THREE).get("node_type") == "array"


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that a path in a store stands for, sorted. Raises Refused for what is no regular file."""
    group = path.parent if is_array(path) else path
    found = []
    for folder, folders, names in os.walk(group):
        folders.sort()
        found += [pathlib.Path(folder, name) for name in sorted(names)]
    for file in found:
        if file.is_symlink() or not file.is_file():
            raise Refused(path, f"{file.name} is {_kind(file)}; expected plain files in a Zarr store; {_AGAIN}")
    return found


def check(path: pathlib.Path) -> None:
    """Raises Refused for a store whose arrays cannot be read without a risk.

    Args:
      path: of a group, or of an array in it, whose group is looked at.
    """
    group = path.parent if is_array(path) else path
    files = files_of(path)
    held = sum(file.stat().st_size for file in files)
    for description in files:
        if description.name == _ARRAY or (description.name == _THREE and is_array(description.parent)):
            _check_array(description, held)
    if not any(description.name in (_ARRAY, _THREE, ".zgroup") for description in files):
        raise Refused(path, f"no Zarr store ({group} holds no zarr.json and no .zgroup); {_AGAIN}")


def _check_array(description: pathlib.Path, held: int) -> None:
    fields = _read(description)
    try:
        shape, chunks, kind, codecs = _two(fields) if description.name == _ARRAY else _three(fields)
        numbers = [*shape, *chunks]
        if not all(type(one) is int and one >= 0 for one in numbers) or len(shape) != len(chunks):
            raise ValueError(f"shape {shape!a:.60}, chunks {chunks!a:.60}")
        size = _size_of(kind)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Refused(description, f"not a description of an array ({reason:.200}); {_AGAIN}") from error
    if strange := sorted(set(codecs) - CODECS):
        raise Refused(
            description, f"has its numbers unpacked by {', '.join(map(ascii, strange)):.200}; expected plain codecs, "
            f"such as blosc or zstd; {_AGAIN}"
        )  # fmt: skip
    whole, chunk = math.prod(shape) * size, math.prod(chunks) * size
    loaded = whole if len(shape) < 2 else 0  # coordinates are read whole
    for most, found, what in (
        (limits.MAX_BLOCK_BYTES, chunk, "bytes in one chunk"),
        (limits.MAX_BLOCK_BYTES, loaded, "bytes of a coordinate"),
        (max(limits.MAX_EXPANSION * held, limits.SMALL_BYTES), whole, f"bytes of numbers in files of {held:,} bytes"),
    ):
        if found > most:
            raise Refused(description, f"{found:,} {what}; expected at most {most:,}; {_AGAIN}, in smaller chunks")


def _two(fields: Mapping[str, Any]) -> tuple[list[int], list[int], str, list[str]]:
    """Shape, chunks, type and codecs of an array of format 2."""
    codecs = [*(fields.get("filters") or []), *([fields["compressor"]] if fields["compressor"] else [])]
    return fields["shape"], fields["chunks"], fields["dtype"], [codec["id"] for codec in codecs]


def _three(fields: Mapping[str, Any]) -> tuple[list[int], list[int], str, list[str]]:
    """Shape, chunks, type and codecs of an array of format 3; of shards, which hold many chunks, theirs."""
    chunks, kind = fields["chunk_grid"]["configuration"]["chunk_shape"], fields["data_type"]
    codecs = list(_named(fields["codecs"]))
    for codec in fields["codecs"]:
        if codec["name"] == _SHARDS:
            chunks = codec["configuration"]["chunk_shape"]
    kind = kind if isinstance(kind, str) else f"|U{kind['configuration']['length_bytes']}"
    return fields["shape"], chunks, kind, codecs


def _named(codecs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for codec in codecs:
        yield codec["name"].removeprefix("numcodecs.")
        inner = codec.get("configuration", {}) if codec["name"] == _SHARDS else {}
        yield from _named([*inner.get("codecs", []), *inner.get("index_codecs", [])])


def _size_of(kind: str) -> int:
    """Bytes of a number of a type; of texts, whose length is not told, a few."""
    if not isinstance(kind, str) or not (found := _TYPE.fullmatch(kind)):
        raise ValueError(f"type {kind!a:.60}")
    if kind in ("|O", "string", "null_terminated_bytes"):
        return 64
    return np.dtype(kind).itemsize if not found[2] else int(found[2]) * (4 if found[1] == "U" else 1)


def _read(description: pathlib.Path) -> dict[str, Any]:
    text = typed_json.content(description, _AGAIN, "a description of a Zarr array or group", limits.SIDECAR_BYTES)
    fields = typed_json.parse(text, description, _AGAIN, finite=False)
    if not isinstance(fields, dict):
        raise Refused(description, f"found {type(fields).__name__}, expected a JSON object; {_AGAIN}")
    return fields


def _kind(file: pathlib.Path) -> str:
    return "a link" if file.is_symlink() else kind_of(file.stat().st_mode)
