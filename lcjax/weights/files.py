"""A file of weights, read: arrays by name. No code of the file is run, and its sizes are not believed."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
import safetensors

from data_pipelines.schema import files, limits, names, zips
from data_pipelines.schema.errors import InputError
from lcjax.weights import npz_format, pytorch_format, recognition, safetensors_format
from lcjax.weights.entries import Entry
from lcjax.weights.recognition import AGAIN

_CHUNK = 1 << 22  # numbers, or bytes, that are looked at together
_DAMAGED = (*zips.DAMAGED, LookupError, TypeError, RecursionError, safetensors.SafetensorError)


@dataclasses.dataclass(frozen=True)
class Weights:
    """A file of weights: arrays by the names that the file gives them.

    Attributes:
      path: of the file.
      format: "safetensors", "pytorch" or "npz".
      sha256: of the whole file, in hexadecimal digits.
      arrays: by name, of the types that they are stored in (bfloat16 is that of jax). Dictionaries of torch.save that
        hold others are told by dots: "state_dict.conv1.weight". Not to be written to.
      metadata: text by name: that of a safetensors header; of torch.save the single values, such as "epoch".
    """

    path: pathlib.Path
    format: str
    sha256: str
    arrays: Mapping[str, np.ndarray]
    metadata: dict[str, str]


def read(path: pathlib.Path) -> Weights:
    """Reads a file of weights. Its content says what it is, not its name.

    Raises:
      InputError: it is of no known format, is damaged, needs code to be read, breaks a limit, or holds numbers that
        are not finite; one line.
    """
    with files.open_regular(path) as file, _explained(path):
        size = os.fstat(file.fileno()).st_size
        kind = recognition.recognise(path, file, size)
        if size > limits.WEIGHTS_BYTES:
            raise InputError(
                f"{path}: {size:,} bytes; expected at most {limits.WEIGHTS_BYTES:,}; is it the right file?"
            )
        format_, (entries, metadata) = _listed(path, file, size, kind)
        _check(path, entries, size)
        arrays = {name: _finite(path, name, entry.read()) for name, entry in entries.items()}
        digest = _sha256(file)
    return Weights(path, format_, digest, arrays, metadata)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Iterator[None]:
    """Turns what libraries raise for damaged bytes into InputError."""
    try:
        yield
    except InputError:
        raise
    except (*_DAMAGED, OSError) as error:
        reason = names.printable(str(error).strip().partition("\n")[0])[:120] or type(error).__name__
        raise InputError(f"{path}: cannot be read as weights ({reason}); it is cut off or damaged: {AGAIN}") from error


def _listed(path: pathlib.Path, file: BinaryIO, size: int, kind: str) -> tuple[str, pytorch_format.Listed]:
    """The format, and what the file says that it holds."""
    if kind == "safetensors":
        return kind, safetensors_format.listed(path, file, size)
    if kind == "legacy":
        return "pytorch", pytorch_format.of_legacy(path, file, size)
    archive = zips.opened(path, file, AGAIN)
    _check_members(path, archive.infolist(), size)
    found = [info.filename for info in archive.infolist()]
    if found and not any(map(pytorch_format.PICKLE.fullmatch, found)) and found[0].endswith(".npy"):
        return "npz", (npz_format.listed(path, archive), {})
    return "pytorch", pytorch_format.of_zip(path, archive)


def _check_members(path: pathlib.Path, members: list[zipfile.ZipInfo], size: int) -> None:
    """Raises InputError where the members of a zip cannot be what they say."""
    _check_count(path, len(members))
    if any(info.flag_bits & 1 for info in members):
        raise InputError(f"{path}: encrypted; expected a file without a password; unpack it with the password")
    if len({info.filename for info in members}) < len(members):
        raise InputError(f"{path}: two members of one name; expected each once; {AGAIN}")
    # Members may lie over each other, so that together they are more than the file.
    if sum(info.compress_size for info in members) > size:
        raise InputError(f"{path}: its members take more than its {size:,} bytes; it is damaged: {AGAIN}")
    _check_bytes(path, sum(info.file_size for info in members), size)


def _check_count(path: pathlib.Path, count: int) -> None:
    if count > limits.WEIGHTS_ARRAYS:
        raise InputError(f"{path}: {count:,} arrays; expected at most {limits.WEIGHTS_ARRAYS:,}; is it the right file?")


def _check_bytes(path: pathlib.Path, claimed: int, size: int) -> None:
    most = min(max(limits.WEIGHTS_EXPANSION * size, limits.WEIGHTS_SMALL), limits.WEIGHTS_BYTES)
    if claimed > most:
        raise InputError(
            f"{path}: says that its arrays have {claimed:,} bytes, in a file of {size:,}; expected at most {most:,}; "
            "is it the right file?"
        )


def _check(path: pathlib.Path, entries: Mapping[str, Entry], size: int) -> None:
    """Raises InputError where names or claims break a limit."""
    if not entries:
        raise InputError(f"{path}: holds no arrays; expected those of a network; is it the right file?")
    _check_count(path, len(entries))
    for name, entry in entries.items():
        if problem := names.wrong(name):
            raise InputError(f"{path}: the name of an array: {problem}; is it the right file?")
        if len(entry.shape) > limits.WEIGHTS_AXES:
            raise InputError(f"{path}: {name}: {len(entry.shape)} axes; expected at most {limits.WEIGHTS_AXES}")
    _check_bytes(path, sum(entry.claim for entry in entries.values()), size)


def _finite(path: pathlib.Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array that may not be written to. Raises InputError for NaN or infinity in it."""
    array.flags.writeable = False
    if array.dtype.kind not in "iub":
        flat = array.reshape(-1)
        for begin in range(0, flat.size, _CHUNK):
            if not (fine := np.isfinite(flat[begin : begin + _CHUNK])).all():
                found = flat[begin + int(np.argmin(fine))]
                raise InputError(
                    f"{path}: {name}: holds {found}; expected finite numbers; the training that wrote it had failed: "
                    "name an earlier checkpoint"
                )
    return array
