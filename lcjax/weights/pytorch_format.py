"""Weights as torch.save writes them, in a zip or, before version 1.6 of torch, in a row of pickles; without torch."""

import functools
import io
import math
import pathlib
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.weights import pytorch_pickle
from lcjax.weights.entries import Entry
from lcjax.weights.pytorch_pickle import Storage, Tensor
from lcjax.weights.recognition import AGAIN, PLAIN, READ

Listed = tuple[dict[str, Entry], dict[str, str]]
PICKLE = re.compile(r"([^/]*)/data\.pkl")
_LITTLE = "little"
# Members of zips that torch writes otherwise, or others do.
_OTHERS = {
    r"(.*/)?constants\.pkl|.*/code/.*": ("a program of TorchScript", "save the state_dict of its model: torch.save("
        "torch.jit.load(FILE).state_dict(), OTHER)"),
    r"(.*/)?model\.weights\.h5": ("a model of Keras", PLAIN),
    r"(.*/)?archive_format": ("a program of torch.export", PLAIN),
}  # fmt: skip
_NUMBERS_BEFORE = 3  # pickles before that of the weights: a magic number, a version, and how the machine wrote numbers


def of_zip(path: pathlib.Path, archive: zipfile.ZipFile) -> Listed:
    """Returns the arrays of a zip by name, unread, and the single values beside them as text.

    Raises:
      InputError: it is no zip of torch.save, or holds what is no plain tensor.
    """
    members = {info.filename: info for info in archive.infolist()}
    root = _root(path, members)
    pickle = _member(path, members, f"{root}/data.pkl")
    if pickle.file_size > limits.WEIGHTS_HEADER:
        raise _too_long(path, pickle.file_size)
    order = f"{root}/byteorder"
    written = archive.read(_member(path, members, order)).decode("ascii") if order in members else _LITTLE
    if written not in ("little", "big"):
        raise InputError(f"{path}: {order}: found {written!a:.20}, expected little or big; {AGAIN}")
    value, storages = pytorch_pickle.load(io.BytesIO(archive.read(pickle)), path)
    found = {}
    for key, storage in storages.items():
        info = found[key] = _member(path, members, f"{root}/data/{key}")
        if info.file_size != storage.size:
            raise InputError(f"{path}: {info.filename}: {info.file_size:,} bytes, expected {storage.size:,}; {AGAIN}")

    return _listed(path, value, lambda storage: archive.read(found[storage.key]), written)


def of_legacy(path: pathlib.Path, file: BinaryIO, size: int) -> Listed:
    """Returns the arrays of a file of pickles by name, unread, and the single values beside them as text.

    Raises:
      InputError: it holds what is no plain tensor, or ends before its arrays do.
    """
    file.seek(0)
    pickles = io.BytesIO(file.read(min(size, limits.WEIGHTS_HEADER)))
    try:
        *_, about = (pytorch_pickle.load(pickles, path)[0] for _ in range(_NUMBERS_BEFORE))
        value, storages = pytorch_pickle.load(pickles, path)
        keys, _ = pytorch_pickle.load(pickles, path)
    except ValueError as error:
        if size > limits.WEIGHTS_HEADER and not isinstance(error, InputError):
            raise _too_long(path, limits.WEIGHTS_HEADER) from error
        raise
    begins = _begins(path, file, pickles.tell(), [storages[str(key)] for key in keys], size)
    if missing := storages.keys() - begins.keys():
        raise InputError(f"{path}: storage {min(missing)!a:.40} is missing; {AGAIN}")

    def read(storage: Storage) -> bytes:
        file.seek(begins[storage.key])
        return file.read(storage.size)

    return _listed(path, value, read, _LITTLE if about["little_endian"] else "big")


def _too_long(path: pathlib.Path, found: int) -> InputError:
    return InputError(
        f"{path}: names and shapes take {found:,} bytes or more; expected at most {limits.WEIGHTS_HEADER:,}; {PLAIN}"
    )


def _root(path: pathlib.Path, members: Mapping[str, zipfile.ZipInfo]) -> str:
    """The folder in the zip that holds all."""
    for pattern, (what, remedy) in _OTHERS.items():
        if any(re.fullmatch(pattern, name) for name in members):
            raise InputError(f"{path}: {what}; expected {READ}; {remedy}")
    roots = [match[1] for name in members if (match := PICKLE.fullmatch(name))]
    if len(roots) != 1:
        raise InputError(
            f"{path}: a zip with {len(members):,} members, the first {min(members, default='none')!a:.60}; expected "
            f"{READ}; where the weights are packed in it, unpack it"
        )
    return roots[0]


def _member(path: pathlib.Path, members: Mapping[str, zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    info = members.get(name)
    if info is None:
        raise InputError(f"{path}: {name!a:.60} is missing; {AGAIN}")
    if info.compress_type != zipfile.ZIP_STORED:
        raise InputError(
            f"{path}: {name!a:.60} is compressed, as torch.save never does; unpack the zip, and pack it without "
            "compression, or save the weights again"
        )
    return info


def _begins(path: pathlib.Path, file: BinaryIO, at: int, storages: list[Storage], size: int) -> dict[str, int]:
    """Where each storage begins: they follow each other, each after the number of its elements."""
    begins = {}
    for storage in storages:
        file.seek(at)
        said = int.from_bytes(file.read(8), "little") * storage.dtype.itemsize
        begins[storage.key] = at + 8
        at += 8 + said
        if at > size or said != storage.size:
            raise InputError(
                f"{path}: storage {storage.key!a:.40} of {storage.size:,} bytes: found {said:,} that end at byte "
                f"{at:,} of {size:,}; it is cut off or damaged: {AGAIN}"
            )
    return begins


def _listed(path: pathlib.Path, value: Any, read: Callable[[Storage], bytes], order: str) -> Listed:
    """What the described value holds by name, with readers of its tensors."""

    @functools.cache  # tensors may share a storage
    def raw(storage: Storage) -> np.ndarray:
        return np.frombuffer(read(storage), np.uint8)

    entries: dict[str, Entry] = {}
    metadata: dict[str, str] = {}
    for count, (name, leaf, is_listed) in enumerate(_leaves(path, value)):
        if count >= limits.WEIGHTS_ARRAYS:
            raise InputError(f"{path}: more than {limits.WEIGHTS_ARRAYS:,} values; expected a state_dict; {PLAIN}")
        if isinstance(leaf, Tensor):
            if name in entries:
                raise InputError(f"{path}: {name!a:.60}: two arrays of this name; expected one; {PLAIN}")
            _check(path, name, leaf)
            entries[name] = Entry(leaf.shape, leaf.dtype, functools.partial(_array, leaf, raw, order))
        elif isinstance(leaf, str | int | float | bool) and not is_listed:
            metadata[name] = str(leaf)
    return entries, metadata


def _leaves(path: pathlib.Path, value: Any) -> Iterator[tuple[str, Any, bool]]:
    """Name and value of all that is neither dictionary nor list, and whether it stands in a list.

    Containers that hold nothing are leaves too, so that what refers to one value many times over is counted.
    """
    # Iterators, and no lists: a key stands in the names of all that is below it, and is not to be copied so often.
    left: list[Iterator[tuple[str, Any, bool, int]]] = [iter([("", value, False, 0)])]
    while left:
        taken = next(left[-1], None)
        if taken is None:
            left.pop()
            continue
        name, found, is_listed, depth = taken
        if not isinstance(found, dict | list | tuple) or not found:
            yield name, found, is_listed
            continue
        if depth == limits.WEIGHTS_DEPTH:
            raise InputError(
                f"{path}: {name!a:.60}: {depth} dictionaries and lists within each other and more; expected fewer; "
                f"{PLAIN}"
            )
        below = functools.partial(_below, name, is_listed or not isinstance(found, dict), depth + 1)
        left.append(below(iter(found.items() if isinstance(found, dict) else enumerate(found))))


def _below(
    name: str, is_listed: bool, depth: int, items: Iterator[tuple[Any, Any]]
) -> Iterator[tuple[str, Any, bool, int]]:
    for key, one in items:
        yield f"{name}.{key}" if depth > 1 else str(key), one, is_listed, depth


def _check(path: pathlib.Path, name: str, tensor: Tensor) -> None:
    """Raises InputError for a tensor that reaches beyond its storage."""
    ends = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) + 1
    if math.prod(tensor.shape) and ends * tensor.dtype.itemsize > tensor.storage.size:
        raise InputError(
            f"{path}: {name!a:.60}: reaches to number {ends:,} of a storage of {tensor.storage.size:,} bytes; {AGAIN}"
        )


def _array(tensor: Tensor, raw: Callable[[Storage], np.ndarray], order: str) -> np.ndarray:
    if not math.prod(tensor.shape):
        return np.empty(tensor.shape, tensor.dtype)
    size = tensor.dtype.itemsize
    numbers = raw(tensor.storage)[: tensor.storage.size // size * size]
    if order != sys.byteorder:
        numbers = numbers.view(f"u{size}").byteswap()
    strides = [size * stride for stride in tensor.strides]
    flat = numbers.view(tensor.dtype)[tensor.offset :]
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    return view if view.flags.c_contiguous else view.copy()
