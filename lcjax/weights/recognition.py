"""What a file is by its first bytes, whatever it is called."""

import os
import pathlib
import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from data_pipelines.schema.errors import InputError

READ = ".safetensors, what torch.save writes (.pth, .pt, .bin) or .npz"
AGAIN = "download it again"
PLAIN = "load it with the library that wrote it, and save its arrays as .safetensors"
_HEAD = 512


class _Other(NamedTuple):
    """A kind of file that is not read: the bytes that it begins with, what it is, and what to do."""

    begins: bytes
    what: str
    remedy: str


_UNPACK = "unpack it, and name the file in it"
_OTHERS = (
    _Other(rb"version https://git-lfs", "a pointer of Git LFS, not the file that it stands for", "run `git lfs pull`"),
    _Other(
        rb"(?i)\s*<(!doctype|html|head|\?xml|script)",
        "a web page, not a file of weights",
        "open the address in a browser, and download the file behind it",
    ),
    _Other(rb"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it", PLAIN),
    _Other(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "packed", _UNPACK),
    _Other(rb"(?s).{257}ustar", "a tar archive", _UNPACK),
    _Other(rb"\x08\x01\x12", "a saved model of TensorFlow", PLAIN),
    _Other(rb"\x08[\x03-\x1f][\x12\x1a\x22\x3a\x42]", "ONNX", PLAIN),
    _Other(rb"GGUF", "GGUF, of a language model", "name the weights of an encoder of images"),
    _Other(rb"\x93NUMPY", "one array of numpy", "save the arrays by name, with numpy.savez"),
    _Other(rb"(?s)\x80[\x02-\x05]", "a pickle that torch.save did not write", "it may hold code, so it is not read; "
           "load it with the library that wrote it, and save its arrays as .safetensors"),
    _Other(
        rb"\s*[\[{]",
        "JSON; where it lists the parts of weights that are split into several files",
        "name one file that holds all of them",
    ),
)  # fmt: skip
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of the index of a checkpoint of TensorFlow


def _is_safetensors(head: bytes) -> bool:
    # Eight bytes of the header's length, then JSON. Text of eight letters before a brace would be a length beyond all.
    return head[8:9] == b"{" and head[7:8] == b"\0"


_OURS: dict[str, Callable[[bytes], bool]] = {
    "zip": lambda head: head.startswith((b"PK\3\4", b"PK\5\6")),
    # The number with which torch.save began before it wrote zips, 0x1950a86a20f9469cfc6c, as a pickle.
    "legacy": lambda head: head[:1] == b"\x80" and bytes.fromhex("8a0a6cfc9c46f9206aa850192e") in head[:24],
    "safetensors": _is_safetensors,
}  # fmt: skip


def recognise(path: pathlib.Path, file: BinaryIO, size: int) -> str:
    """Returns "safetensors", "zip" (of torch.save or numpy) or "legacy" (torch.save before version 1.6).

    Args:
      path: of the file, for the message.
      file: opened for reading.
      size: of it, in bytes.

    Raises:
      InputError: it is something else.
    """
    if not size:
        raise InputError(f"{path}: empty; expected {READ}; {AGAIN}")
    file.seek(0)
    head = file.read(_HEAD)
    if kind := next((kind for kind, fits in _OURS.items() if fits(head)), ""):
        return kind
    file.seek(-min(size, len(_TABLE_END)), os.SEEK_END)
    if file.read() == _TABLE_END:
        raise InputError(f"{path}: the index of a checkpoint of TensorFlow; expected {READ}; {PLAIN}")
    if other := next((other for other in _OTHERS if re.match(other.begins, head)), None):
        raise InputError(f"{path}: {other.what}; expected {READ}; {other.remedy}")
    raise InputError(f"{path}: begins with {head[:12]!r}, no file of weights that is known; expected {READ}")
