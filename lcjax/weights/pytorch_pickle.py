"""Reads the pickles of torch.save: a small machine that knows tensors, dictionaries and numbers, and nothing else.

A pickle is a program that may call whatever can be imported. Here nothing is imported or called that the file names:
its names are looked up in a table of what torch.save writes for plain tensors, and what stands in no table ends the
reading. That is at most what torch.load(weights_only=True) allows.
"""

import dataclasses
import pathlib
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from data_pipelines.schema import limits, names
from data_pipelines.schema.errors import InputError
from lcjax.weights.entries import TYPES

_SAVE = "load it with torch where you trust it, and save its weights alone: torch.save(model.state_dict(), FILE)"
_LONGEST_INTEGER = 128  # bits
_LONGEST_KEY = 10 * limits.MAX_NAME  # what is shorter, and still too long, is told by its name


@dataclasses.dataclass(frozen=True)
class Storage:
    """The memory of tensors: `key` is its name in the file; `size` is in bytes."""

    key: str
    dtype: np.dtype
    size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(stream: BinaryIO, source: pathlib.Path) -> tuple[Any, dict[str, Storage]]:
    """Reads one pickle, from where the stream is to the pickle's end.

    Args:
      stream: of memory, and not of a file: lengths are taken as they are said.
      source: the file, for messages.

    Returns:
      What it describes, of dict, list, tuple, str, bytes, int, float, bool, None and Tensor, and its storages by key.

    Raises:
      InputError: it needs what is in no table.
      LookupError, TypeError, ValueError: it is no pickle, or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                break
            if opcode.name not in _STEPS:
                raise _UnknownError(f"the instruction {opcode.name} of a pickle")
            _STEPS[opcode.name](machine, argument)
    except _UnknownError as error:
        what = names.printable(str(error))[:120]
        raise InputError(
            f"{source}: holds {what}, which is no plain tensor, and nothing in a file is run; {_SAVE}"
        ) from error
    return machine.pop(), machine.storages


class _UnknownError(Exception):
    """What a pickle holds that is in no table."""


@dataclasses.dataclass(frozen=True)
class _Named:
    """What stands for a name in a pickle: a type of numbers, a type of storage, or what is called."""

    name: str
    dtype: np.dtype | None = None
    call: Callable[..., Any] | None = None


class _Machine:
    """The stack of a pickle, the stacks below its marks, and what it has numbered."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def keep(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("values for what is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError("pairs for what is no dictionary")
        _fill(target, list(zip(values[::2], values[1::2], strict=True)))

    def push_named(self, name: str) -> None:
        if name not in _NAMED:
            raise _UnknownError(name.replace(" ", "."))
        self.push(_NAMED[name])

    def push_named_of_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.push_named(f"{module} {name}")

    def reduce(self) -> None:
        arguments, named = self.pop(), self.pop()
        if not isinstance(named, _Named) or named.call is None or not isinstance(arguments, tuple):
            raise _UnknownError(f"a call of {getattr(named, 'name', type(named).__name__)}")
        self.push(named.call(*arguments))

    def build(self) -> None:
        # Attributes of an OrderedDict, such as the versions of modules, are no weights.
        attributes = self.pop()
        if not isinstance(self.stack[-1], dict) or not isinstance(attributes, dict):
            raise _UnknownError(f"the state of a {type(self.stack[-1]).__name__}")

    def push_storage(self) -> None:
        kind, named, key, _, numbers, *view = self.pop()
        if kind != "storage" or not isinstance(named, _Named) or named.dtype is None or named.call is not None:
            raise _UnknownError("a reference to what is no storage")
        if any(part is not None for part in view):
            raise _UnknownError("a storage that is a part of another")
        size = _whole(numbers) * named.dtype.itemsize
        storage = self.storages.setdefault(str(key), Storage(str(key), named.dtype, size))
        if storage.size != size:
            raise ValueError(f"storage {key!a:.40} is of {storage.size:,} bytes, and of {size:,}")
        self.push(Storage(str(key), named.dtype, size))


def _fill(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    for key, value in pairs:
        if not isinstance(key, str | int | float | bool | None):
            raise TypeError(f"a {type(key).__name__} as a key")
        if isinstance(key, str) and len(key) > _LONGEST_KEY:  # it stands in the names of all that is below it
            raise ValueError(f"a key of {len(key):,} letters, expected at most {limits.MAX_NAME}")
        if key in target:
            raise ValueError(f"the key {key!a:.60} stands there twice")
        target[key] = value
    return target


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0 or value.bit_length() > 62:
        raise ValueError(f"{value!a:.40}, expected a size")
    return value


def _integer(machine: _Machine, value: int) -> None:
    if value.bit_length() > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {value.bit_length():,} bits")
    machine.push(value)


# Of their arguments, torch's functions take here: storage, offset, shape and strides. Whether a gradient is wanted and
# what hooks there are is of no weight; marks say that a tensor is to be negated or conjugated when it is read.


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, marks: Any = None) -> Tensor:
    if marks:
        raise _UnknownError("a tensor that is to be negated, conjugated or otherwise changed")
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without storage")
    sizes, steps = tuple(map(_whole, shape)), tuple(map(_whole, strides))
    if len(sizes) != len(steps):
        raise ValueError(f"{len(steps)} strides for {len(sizes)} axes")
    return Tensor(storage, storage.dtype, _whole(offset), sizes, steps)


def _tensor_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, gradient: Any, hooks: Any, marks: Any = None
) -> Tensor:
    return _tensor(storage, offset, shape, strides, marks)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, gradient: Any, hooks: Any, dtype: Any, marks: Any = None
) -> Tensor:
    """As torch writes it of types that have no class of storage, over bytes."""
    if not isinstance(dtype, _Named) or dtype.dtype is None:
        raise TypeError("a tensor without a type")
    return dataclasses.replace(_tensor(storage, offset, shape, strides, marks), dtype=dtype.dtype)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return _fill({}, list(pairs))


def _sequence(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


def _encoded(text: str, _: str) -> bytes:
    return text.encode("latin1")


def _counter(counts: Any = ()) -> dict[Any, Any]:
    return dict(counts)


def _device(*parts: Any) -> str:
    return ":".join(map(str, parts))


_CALLED: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _ordered,
    "collections Counter": _counter,  # in schedules of rates
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor_v2,
    "torch._utils _rebuild_tensor_v3": _tensor_v3,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch Size": _sequence,
    "torch device": _device,
    "_codecs encode": _encoded,  # bytes, as protocol 2 writes them
    "__builtin__ set": _sequence,
    "builtins set": _sequence,
}
_STORAGES = {
    "torch DoubleStorage": "float64", "torch FloatStorage": "float32", "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16", "torch LongStorage": "int64", "torch IntStorage": "int32",
    "torch ShortStorage": "int16", "torch CharStorage": "int8", "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool", "torch.storage UntypedStorage": "uint8",
}  # fmt: skip
_NAMED = {
    **{name: _Named(name, call=call) for name, call in _CALLED.items()},
    **{name: _Named(name, TYPES[dtype]) for name, dtype in _STORAGES.items()},
    **{f"torch {name}": _Named(f"torch {name}", dtype) for name, dtype in TYPES.items()},
}

_Step = Callable[[_Machine, Any], None]


def _constant(make: Callable[[], Any]) -> _Step:
    return lambda machine, _: machine.push(make())


def _tuple(count: int) -> _Step:
    def step(machine: _Machine, _: Any) -> None:
        if len(machine.stack) < count:
            raise IndexError("a tuple of more than there is")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return step


def _pass(machine: _Machine, argument: Any) -> None:
    """Says what the pickle is, or how it lies in its file."""


# What each instruction does, by its name in pickletools: what protocols 2 to 5 write of such values.
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME"), _pass),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4"), _integer),
    **dict.fromkeys(
        (
            *("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        ),
        _Machine.push,
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.keep),
    "MEMOIZE": lambda machine, _: machine.keep(len(machine.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, number: machine.push(machine.memo[number])),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), _constant(list)),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "DICT": lambda machine, _: machine.push(_paired(machine.pop_mark())),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda machine, _: machine.extend(machine.pop_mark())),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "GLOBAL": _Machine.push_named,
    "STACK_GLOBAL": lambda machine, _: machine.push_named_of_stack(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push_storage(),
}


def _paired(values: list[Any]) -> dict[Any, Any]:
    return _fill({}, list(zip(values[::2], values[1::2], strict=True)))
