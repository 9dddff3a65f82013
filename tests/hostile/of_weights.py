"""Files of weights: pickles with code, sizes that lie, damage, and what is no file of weights; given to `info`."""

import collections
import json
import os
import struct
from collections.abc import Callable, Iterable

import numpy as np
import safetensors.numpy
import torch_files
from corpus import Asked, Case, Place

_ARRAYS = {"conv1.weight": np.ones((4, 3, 3, 3), np.float32), "bn1.weight": np.ones(4, np.float32)}
_TENSORS = collections.OrderedDict((name, torch_files.tensor(array)) for name, array in _ARRAYS.items())
_HUGE = 10_000_000_000


class _Command:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable, argument: str):
        self.called = function, (argument,)

    def __reduce__(self):
        return self.called


def _with_code(write: Callable) -> Callable[[Place], bytes]:
    return lambda place: write(_TENSORS | {"x": _Command(os.system, f"touch {place.other}/evil")})


def _expanded(write: Callable) -> Callable[[Place], bytes]:
    one = torch_files.Tensor(torch_files.Storage(np.ones(1, np.float32)), 0, (50_000, 50_000), (0, 0))
    return lambda place: write({"a": one})


def _header(fields: dict, length: int | None = None) -> Callable[[Place], bytes]:
    text = json.dumps(fields).encode()
    return lambda place: struct.pack("<Q", len(text) if length is None else length) + text + bytes(8)


_WHOLE = {
    "safetensors": lambda: safetensors.numpy.save(_ARRAYS),
    "zip": lambda: torch_files.zipped(_TENSORS),
    "legacy": lambda: torch_files.legacy(_TENSORS),
}
_FILES: dict[str, Callable[[Place], bytes]] = {
    "code in a zip": _with_code(torch_files.zipped),
    "code in a pickle": _with_code(torch_files.legacy),
    "one number expanded": _expanded(torch_files.zipped),
    "one number expanded in a pickle": _expanded(torch_files.legacy),
    "a header of 10 GB": _header({}, _HUGE),
    "an array of 10 GB": _header({"a": {"dtype": "F32", "shape": [_HUGE // 4], "data_offsets": [0, 8]}}),
    "NaN": lambda place: safetensors.numpy.save({"a": np.full(3, np.nan, np.float32)}),
    "a web page": lambda place: f"<!DOCTYPE html><a href='{place.world.url}'>".encode(),
    "nothing": lambda place: b"",
    "arrays of nobody": lambda place: safetensors.numpy.save({"a": np.ones(3, np.float32)}),
}


def _of(make: Callable[[Place], bytes]) -> Callable[[Place], Asked]:
    def given(place: Place) -> Asked:
        path = place.given / "weights.pth"
        path.write_bytes(make(place))
        return Asked(["info", str(path)], (path.name,))

    return given


def _damaged(whole: Callable[[], bytes]) -> Callable[[Place], bytes]:
    def make(place: Place) -> bytes:
        content = bytearray(whole())
        if place.rng.random() < 0.5:
            return bytes(content[: place.rng.integers(len(content))])
        for at in place.rng.integers(len(content), size=4):
            content[at] = place.rng.integers(256)
        return bytes(content)

    return make


def _pipe(place: Place) -> Asked:
    path = place.given / "weights.safetensors"
    os.mkfifo(path)
    return Asked(["info", str(path)], (path.name,))


def cases() -> Iterable[Case]:
    for name, make in _FILES.items():
        yield Case(f"weights: {name}", _of(make))
    for name, whole in _WHOLE.items():
        for seed in range(5):
            yield Case(f"weights: damaged {name}", _of(_damaged(whole)), seed)
    yield Case("weights: a pipe", _pipe)
