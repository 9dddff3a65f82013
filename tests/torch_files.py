"""Files as torch.save writes them, made without torch.

Python's own pickler writes them, as torch has it do, of objects that say the names of torch's. tests/parity compares
pickles with those of torch, byte by byte.
"""

import collections
import contextlib
import dataclasses
import io
import pickle
import struct
import sys
import types
import zipfile
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage", "complex64": "ComplexFloatStorage",
}  # fmt: skip


def _stand_in(module: str, name: str) -> type:
    return type(name, (), {"__module__": module})


_FUNCTIONS = {
    f"{module}.{name}": _stand_in(module, name)
    for module, name in (
        *(("torch", name) for name in (*_STORAGES.values(), "Size", "device", "float32", "uint16")),
        *(("torch._utils", f"_rebuild_{name}") for name in ("tensor", "tensor_v2", "tensor_v3", "parameter")),
        ("torch.storage", "UntypedStorage"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch._utils", "_rebuild_qtensor"),
    )
}


def named(name: str) -> type:
    """What stands for a name of torch's, such as "torch.device"."""
    return _FUNCTIONS[name]


@contextlib.contextmanager
def _standing_in():
    """While it lasts, the names of torch are those above: a pickler looks whether they can be imported."""
    modules: dict[str, types.ModuleType] = {}
    for full, function in _FUNCTIONS.items():
        module, _, name = full.rpartition(".")
        for depth in range(1, module.count(".") + 2):
            above = ".".join(module.split(".")[:depth])
            modules.setdefault(above, types.ModuleType(above))
        setattr(modules[module], name, function)
    kept = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@dataclasses.dataclass(eq=False)
class Called:
    """Pickled as a call of what stands for a name, with arguments."""

    name: str
    arguments: tuple

    def __reduce__(self):
        return named(self.name), self.arguments


@dataclasses.dataclass(eq=False)
class Storage:
    """Memory of tensors; `size` is the count of numbers that is written, where it is not the true one."""

    numbers: np.ndarray
    size: int | None = None
    kind: str | None = None


@dataclasses.dataclass(eq=False)
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: Any
    shape: Any
    strides: Any
    more: tuple = ()

    def __reduce_ex__(self, protocol):
        hooks = collections.OrderedDict()
        return named("torch._utils._rebuild_tensor_v2"), (
            *(self.storage, self.offset, self.shape, self.strides, False, hooks),
            *self.more,
        )


def tensor(array: np.ndarray) -> Tensor:
    """A tensor of its own memory."""
    array = np.asarray(array)
    strides = tuple(stride // array.itemsize for stride in np.empty(array.shape, array.dtype).strides)
    return Tensor(Storage(array.reshape(-1)), 0, array.shape, strides)


def parameter(array: np.ndarray) -> Called:
    return Called("torch._utils._rebuild_parameter", (tensor(array), True, collections.OrderedDict()))


class _Pickler(pickle.Pickler):
    def __init__(self, file, protocol, is_legacy):
        super().__init__(file, protocol)
        self.is_legacy = is_legacy
        self.storages: dict[int, tuple[str, Storage]] = {}

    def persistent_id(self, found):
        if not isinstance(found, Storage):
            return None
        key = str(94511026440512 + id(found)) if self.is_legacy else str(len(self.storages))
        key, _ = self.storages.setdefault(id(found), (key, found))
        numbers = found.numbers
        kind = named("torch." + _STORAGES[numbers.dtype.name]) if found.kind is None else named(found.kind)
        size = numbers.size if found.size is None else found.size
        return ("storage", kind, key, "cpu", size, *([None] if self.is_legacy else []))


def pickled(value: Any, protocol: int = 2, is_legacy: bool = False) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of a value, and its storages by key."""
    buffer = io.BytesIO()
    with _standing_in():
        pickler = _Pickler(buffer, protocol, is_legacy)
        pickler.dump(value)
    return buffer.getvalue(), dict(pickler.storages.values())


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def members(value: Any, protocol: int = 2, order: str = "little") -> dict[str, bytes]:
    """What torch.save writes into its zip, by name."""
    pickle_, storages = pickled(value, protocol)
    return {
        "archive/data.pkl": pickle_,
        "archive/byteorder": order.encode(),
        **{f"archive/data/{key}": _bytes(storage.numbers, order) for key, storage in storages.items()},
        "archive/version": b"3\n",
    }


def zipped(value: Any, protocol: int = 2, order: str = "little") -> bytes:
    """The file that torch.save writes."""
    return packed(members(value, protocol, order))


def legacy(value: Any, protocol: int = 2, order: str = "little") -> bytes:
    """The file that torch.save writes with _use_new_zipfile_serialization=False."""
    about = {
        "protocol_version": 1001,
        "little_endian": order == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    begin = b"".join(pickle.dumps(each, protocol) for each in (_MAGIC, 1001, about))
    content, storages = pickled(value, protocol, is_legacy=True)
    keys = sorted(storages)
    written = [
        struct.pack("<q", storages[key].numbers.size if storages[key].size is None else storages[key].size)
        + _bytes(storages[key].numbers, order)
        for key in keys
    ]
    return begin + content + pickle.dumps(keys, protocol) + b"".join(written)


def _bytes(numbers: np.ndarray, order: str) -> bytes:
    plain = numbers.view(f"u{numbers.itemsize}")
    return (plain.byteswap() if order == "big" else plain).tobytes()
