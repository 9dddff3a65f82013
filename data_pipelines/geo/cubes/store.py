"""Zarr stores of this machine: where one begins, which files it has, and whether its arrays may be read.

A store describes the codecs that turn its files into numbers. Only those of `CODECS` may run, each once: some others
call whatever the file names (pickle), or make much of little. So all descriptions are looked at before anything else.
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
_ARRAY, _GROUP, _THREE = ".zarray", ".zgroup", "zarr.json"  # of the formats 2, 2 and 3
_DESCRIPTIONS = (_ARRAY, _GROUP, ".zattrs", ".zmetadata", _THREE)
_SHARDS = "sharding_indexed"
_PACKERS = ("blosc", "zlib", "gzip", "zstd", "lz4")
_SUMS = ("crc32", "crc32c", "adler32", "fletcher32")
CODECS = frozenset({*_PACKERS, *_SUMS, "shuffle", "vlen-utf8", "bytes", "transpose", _SHARDS})
_AGAIN = "write it anew with `to_zarr` of xarray"
_TYPE = re.compile(r"[<>|=]?([biufSUMmV])(\d+)(\[\w+\])?|\|O|(bool|u?int\d+|float\d+|string|null_terminated_bytes)")


def root_of(path: pathlib.Path) -> pathlib.Path | None:
    """The store that a path names, whole or an array in it; None where it names none."""
    if isinstance(path, Address) or ".." in path.parts:
        return None
    return next((part for part in (path, *path.parents) if part.suffix.lower() == SUFFIX and part.is_dir()), None)


def group_of(path: pathlib.Path) -> tuple[pathlib.Path, str]:
    """The group that a path in a store names, and the array in it, "" for all. Raises Refused where it names none."""
    if not is_array(path):
        return path, ""
    if path == root_of(path):
        raise Refused(path, f"one array, with nothing that says where it lies; expected a group; {_AGAIN}")
    return path.parent, path.name


def is_array(folder: pathlib.Path) -> bool:
    """Whether a folder of a store is an array, and no group of them."""
    if (folder / _ARRAY).is_file():
        return True
    return (folder / _THREE).is_file() and _read(folder / _THREE).get("node_type") == "array"


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that a path in a store stands for, sorted. Raises Refused for what is no regular file."""
    return [file for file, _ in _sized(path)]


def chunks_of(path: pathlib.Path, array: str) -> tuple[int, int]:
    """How many files of numbers an array of a group has, and how many it would have where all are there."""
    folder = group_of(path)[0] / array
    two = (folder / _ARRAY).is_file()
    fields = _read(folder / (_ARRAY if two else _THREE))
    shape = fields["shape"]
    chunks = fields["chunks"] if two else fields["chunk_grid"]["configuration"]["chunk_shape"]
    there = sum(name not in _DESCRIPTIONS for _, _, names in os.walk(folder) for name in names)
    return there, math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))


def _sized(path: pathlib.Path) -> list[tuple[pathlib.Path, int]]:
    """The files of `files_of`, each with its bytes."""
    found, todo = [], [group_of(path)[0]]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(pathlib.Path(entry))
                elif entry.is_file(follow_symlinks=False):
                    found.append((pathlib.Path(entry), entry.stat().st_size))
                else:
                    kind = "a link" if entry.is_symlink() else kind_of(entry.stat().st_mode)
                    raise Refused(path, f"{entry.name} is {kind}; expected plain files in a Zarr store; {_AGAIN}")
    return sorted(found)


def check(path: pathlib.Path) -> None:
    """Raises Refused for a store whose arrays cannot be read without a risk.

    Args:
      path: of a group, or of an array in it, whose group is looked at.
    """
    group, files = group_of(path)[0], _sized(path)
    if not any((group / name).is_file() for name in (_GROUP, _THREE)):
        there = ", ".join(sorted(one.name for one in group.parent.iterdir() if is_array(one))[:10])
        which = "" if group == root_of(path) else f"; expected an array of {group.parent}, such as {there or 'none'}"
        raise Refused(path, f"no Zarr store: {group} holds no zarr.json and no .zgroup{which}")
    held = sum(size for _, size in files)
    for description, size in files:
        if description.name in _DESCRIPTIONS and size > limits.SIDECAR_BYTES:
            raise Refused(description, f"{size:,} bytes; expected at most {limits.SIDECAR_BYTES:,}; {_AGAIN}")
        if description.name == _ARRAY or (description.name == _THREE and is_array(description.parent)):
            _check_array(description, held)


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
    if strange := sorted(set(codecs) - CODECS, key=str):
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
    return fields["shape"], fields["chunks"], fields["dtype"], _once([codec["id"] for codec in codecs])


def _three(fields: Mapping[str, Any]) -> tuple[list[int], list[int], str, list[str]]:
    """Shape, chunks, type and codecs of an array of format 3; of shards, which hold many chunks, theirs."""
    chunks, kind = fields["chunk_grid"]["configuration"]["chunk_shape"], fields["data_type"]
    codecs = list(_named(fields["codecs"]))
    (first, *more) = fields["codecs"]
    if first["name"] == _SHARDS and not more:  # else the whole of a shard is unpacked to read any of it
        chunks = first["configuration"]["chunk_shape"]
    kind = kind if isinstance(kind, str) else f"|U{kind['configuration']['length_bytes']}"
    return fields["shape"], chunks, kind, codecs


def _named(codecs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _once([codec["name"].removeprefix("numcodecs.") for codec in codecs])
    for codec in codecs:
        if codec["name"] == _SHARDS:
            for inner in ("codecs", "index_codecs"):
                yield from _named(codec["configuration"][inner])


def _once(codecs: list) -> list:
    """The codecs, none of which may come twice: packed twice, little can be very much."""
    if len({str(codec) for codec in codecs}) < len(codecs):
        raise ValueError(f"a codec comes twice in {codecs!a:.100}")
    return codecs


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
