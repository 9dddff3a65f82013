"""Files of weights: what is read of each format, and that nothing else gets in, runs, waits or takes memory."""

import collections
import io
import json
import os
import pathlib
import pickle
import re
import struct
import tracemalloc
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from torch_files import Called, Storage, Tensor, legacy, members, named, packed, parameter, pickled, tensor, zipped

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.weights import files

KEPT = pathlib.Path(__file__).parent / "of_torch"
RNG = np.random.default_rng(0)
TYPES = (
    *("float64", "float32", "float16", jnp.bfloat16),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)
PLAIN = {np.dtype(name).name: RNG.normal(size=(3, 4)).astype(name) for name in TYPES}
PLAIN |= {"scalar": np.float32(3.5), "empty": np.zeros((0, 5), np.float32), "long/name.weight": np.arange(6.0)}
PLAIN = {name: np.asarray(array) for name, array in PLAIN.items()}
WRITERS = {"zip": zipped, "legacy": legacy}
both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def st(arrays, metadata=None) -> bytes:
    return safetensors.numpy.save(arrays, metadata)


def npz(arrays, save=np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def of_torch(arrays, write=zipped, protocol=2) -> bytes:
    return write(collections.OrderedDict((name, tensor(array)) for name, array in arrays.items()), protocol)


def read(tmp_path, content: bytes, name: str = "weights.bin") -> files.Weights:
    path = tmp_path / name
    path.write_bytes(content)
    return files.read(path)


def refusal(tmp_path, content: bytes | None, name: str = "weights.pth") -> str:
    """The one line with which a file is refused, without its name."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        files.read(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: ")
    assert len(line) < 600
    return line.removeprefix(f"{path}: ")


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_safetensors(tmp_path):
    weights = read(tmp_path, st(PLAIN, {"card": '{"a": 1}'}), "weights.pth")
    assert weights.format == "safetensors"
    assert weights.metadata == {"card": '{"a": 1}'}
    assert_equal(weights.arrays, PLAIN)
    assert not any(array.flags.writeable for array in weights.arrays.values())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {name: array for name, array in PLAIN.items() if name != "bfloat16"}
    arrays |= {"columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(4, dtype=">f4")}
    weights = read(tmp_path, npz(arrays, save))
    assert weights.format == "npz" and not weights.metadata
    assert_equal(weights.arrays, arrays | {"big": np.arange(4, dtype=np.float32)})


@both
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch(tmp_path, write, protocol):
    weights = read(tmp_path, of_torch(PLAIN, write, protocol))
    assert weights.format == "pytorch"
    assert_equal(weights.arrays, PLAIN)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_files_that_torch_has_written(name):
    weights = files.read(KEPT / name)
    arrays = {full.removeprefix("state_dict."): array for full, array in weights.arrays.items()}
    base, transposed = arrays["weight"], arrays["transposed"]
    assert base.shape == (4, 6) and base.std() > 0.5
    np.testing.assert_array_equal(transposed, base.T)
    np.testing.assert_array_equal(arrays["part"], base[1:3, 2:5])
    np.testing.assert_array_equal(arrays["half"], base[0].astype(np.float16))
    np.testing.assert_array_equal(arrays["bfloat"], base[1].astype(jnp.bfloat16))
    np.testing.assert_array_equal(arrays["double"], base[2].astype(np.float64))
    assert arrays["scalar"] == 7 and arrays["scalar"].dtype == np.int64 and arrays["scalar"].shape == ()
    assert arrays["empty"].shape == (0, 3)
    np.testing.assert_array_equal(arrays["flags"], [True, False])
    np.testing.assert_array_equal(arrays["odd"], np.arange(3, dtype=np.uint16))
    assert arrays["odd"].dtype == np.uint16 and arrays["bytes"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["tied"], base)
    assert weights.metadata == {"epoch": "3", "arch": "x", "lr": "0.5"}
    assert re.fullmatch("[0-9a-f]{64}", weights.sha256)


@both
def test_what_is_nested_is_told_by_dots(tmp_path, write):
    one = np.arange(3.0)
    moments = {0: {"step": tensor(np.float32(2)), "exp_avg": tensor(one)}}
    value = {
        "state_dict": collections.OrderedDict({"conv1.weight": parameter(one)}),
        "optimizer": {"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "epoch": 7, "arch": "resnet50", "best": True, "none": None, "loss": 0.25,
        "options": {"device": Called("torch.device", ("cuda", 0)), "shape": Called("torch.Size", ((1, 2),))},
        "bytes": b"abc", "set": {1, 2}, "milestones": collections.Counter([30, 60]), "type": named("torch.float32"),
    }  # fmt: skip
    weights = read(tmp_path, write(value))
    assert_equal(
        weights.arrays,
        {
            "state_dict.conv1.weight": one,
            "optimizer.state.0.step": np.asarray(np.float32(2)),
            "optimizer.state.0.exp_avg": one,
        },
    )
    told = {"epoch": "7", "arch": "resnet50", "best": "True", "loss": "0.25", "options.device": "cuda:0"}
    assert weights.metadata == told | {"milestones.30": "1", "milestones.60": "1"}


def test_an_ordered_dict_with_attributes_or_with_pairs(tmp_path):
    """state_dict() has an attribute with the versions of modules; Python 2 wrote the pairs as an argument."""
    value = collections.OrderedDict(a=tensor(np.arange(2.0)))
    value._metadata = collections.OrderedDict({"": {"version": 1}})
    assert read(tmp_path, zipped(value)).arrays.keys() == {"a"}

    class Pairs:
        def __reduce__(self):
            return collections.OrderedDict, ([["a", tensor(np.arange(2.0))]],)

    assert read(tmp_path, legacy(Pairs())).arrays.keys() == {"a"}


@both
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool"])
def test_the_order_of_bytes(tmp_path, write, dtype):
    array = np.arange(-2, 4).astype(jnp.bfloat16 if dtype == "bfloat16" else dtype)
    weights = read(tmp_path, write({"a": tensor(array)}, 2, "big"))
    assert_equal(weights.arrays, {"a": array})


@both
def test_views_of_one_storage(tmp_path, write):
    base = np.arange(24, dtype=np.float32)
    storage = Storage(base)
    value = {
        "whole": Tensor(storage, 0, (4, 6), (6, 1)),
        "tied": Tensor(storage, 0, (4, 6), (6, 1)),
        "turned": Tensor(storage, 0, (6, 4), (1, 6)),
        "part": Tensor(storage, 8, (2, 3), (6, 1)),
        "last": Tensor(storage, 23, (), ()),
        "expanded": Tensor(storage, 5, (3, 2), (0, 1)),
        "none": Tensor(storage, 24, (0, 7), (7, 1)),
    }
    arrays = read(tmp_path, write(value)).arrays
    whole = base.reshape(4, 6)
    expected = {"whole": whole, "tied": whole, "turned": whole.T, "part": whole[1:3, 2:5], "last": base[23]}
    expected |= {"expanded": np.stack([base[5:7]] * 3), "none": np.zeros((0, 7), np.float32)}
    assert_equal(arrays, {name: np.asarray(array) for name, array in expected.items()})
    assert np.shares_memory(arrays["whole"], arrays["tied"])
    assert all(array.flags.c_contiguous for array in arrays.values())


def test_types_without_a_storage_of_their_own(tmp_path):
    numbers = np.arange(5, dtype=np.uint16)

    class New:
        def __reduce__(self):
            storage = Storage(numbers.view(np.uint8), kind="torch.storage.UntypedStorage")
            hooks = collections.OrderedDict()
            return named("torch._utils._rebuild_tensor_v3"), (
                *(storage, 1, (4,), (1,), False, hooks),
                named("torch.uint16"),
            )

    assert_equal(read(tmp_path, zipped({"a": New()})).arrays, {"a": numbers[1:]})


def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "a").write_bytes(st({"a": np.ones(2)}))
    (tmp_path / "b").symlink_to("a")
    assert files.read(tmp_path / "b").arrays.keys() == {"a"}


# ---- what must not run ----------------------------------------------------------------------------------------------


class Evil:
    """Pickled as a call of anything."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@both
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, open, pathlib.Path, getattr, __import__])
def test_code_in_a_pickle_does_not_run(tmp_path, write, protocol, function):
    marker = tmp_path / "marker"
    text = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')", __import__: "antigravity"}
    arguments = (str(marker), "w") if function is open else (text.get(function, str(marker)),)
    arguments = (os, "getpid") if function is getattr else arguments
    if function is getattr:  # a module cannot be pickled; an object of one can
        arguments = ("x", "upper")
    message = refusal(tmp_path, write({"a": tensor(np.ones(2)), "b": Evil(function, *arguments)}, protocol))
    assert re.search(r"holds \S+, which is no plain tensor, and nothing in a file is run; load it with torch", message)
    assert not marker.exists()


OTHER_WAYS = {
    "GLOBAL": b"cposix\nsystem\n.",
    "INST": b"(X\x01\x00\x00\x00xiposix\nsystem\n.",
    "OBJ": b"(ctorch\nSize\no.",
    "NEWOBJ": b"ctorch\nSize\n)\x81.",
    "EXT1": b"\x82\x01.",
    "BUILD of a tuple": b")}b.",
    "BUILD by a name": b"}ctorch\nSize\nb.",
    "a call of a type": b"ctorch\nfloat32\n)R.",
    "a call of a call": b"ctorch\nSize\n)R)R.",
    "a reference to no storage": b"(\x8c\x06modulectorch\nSize\n\x8c\x010\x8c\x03cpuK\x01tQ.",
    "STACK_GLOBAL": b"\x8c\x05posix\x8c\x06system\x93.",
}  # fmt: skip


@pytest.mark.parametrize("code", OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_instructions_that_torch_does_not_write_are_refused(tmp_path, code):
    refusal(tmp_path, packed({"archive/data.pkl": b"\x80\x02" + code}))
    begin = legacy({})[:: len(legacy({}))]
    assert begin == b"\x80"
    before = legacy({"a": 1}).index(b"\x80\x02}q\x00X\x01\x00\x00\x00a")
    refusal(tmp_path, legacy({"a": 1})[:before] + b"\x80\x02" + code + pickle.dumps([], 2))


@both
def test_whole_models_and_options_are_refused_by_name(tmp_path, write):
    class Model:
        def __reduce__(self):
            return named("torch.nn.modules.linear.Linear"), ()

    message = refusal(tmp_path, write({"model": Model()}))
    assert "holds torch.nn.modules.linear.Linear, which is no plain tensor" in message
    assert "torch.save(model.state_dict(), FILE)" in message

    import argparse

    message = refusal(tmp_path, write({"a": tensor(np.ones(2)), "args": argparse.Namespace(lr=1)}))
    assert "holds argparse.Namespace" in message
    message = refusal(tmp_path, write({"a": tensor(np.ones(2)), "score": np.float64(0.5)}))
    assert re.search(r"holds numpy\.\S+scalar", message)
    quantised = Called("torch._utils._rebuild_qtensor", (1, 2))
    assert "holds torch._utils._rebuild_qtensor" in refusal(tmp_path, write({"a": quantised}))
    complex_ = tensor(np.ones(2, np.complex64))
    assert "holds torch.ComplexFloatStorage" in refusal(tmp_path, write({"a": complex_}))
    marked = Tensor(Storage(np.ones(2)), 0, (2,), (1,), more=({"neg": True},))
    assert "negated" in refusal(tmp_path, write({"a": marked}))


# ---- sizes that lie -------------------------------------------------------------------------------------------------


def st_header(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def said(shape, dtype="F32", end=None, begin=0) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, 8 if end is None else end]}


HUGE = 10_000_000_000


def expanded(*shape: int) -> dict:
    return {"a": Tensor(Storage(np.ones(1, np.float32)), 0, shape, (0,) * len(shape))}


def long_axes(shape) -> dict:
    return {"a": Tensor(Storage(np.ones(1, np.float32)), 0, shape, (0,) * len(shape))}


def overlapping() -> bytes:
    """A zip of which a thousand members are one and the same megabyte."""
    plain = bytearray(packed({"archive/data.pkl": b"", "archive/data/0": bytes(2**20)}))
    end = plain.rindex(b"PK\5\6")
    (begin,) = struct.unpack("<I", plain[end + 16 : end + 20])
    listing = plain[begin:end]
    last = listing[listing.index(b"PK\1\2", 1) :]
    for number in range(1, 1000):
        listing += last.replace(b"data/0", b"data/0"[:-1] + bytes([48 + number % 10])) if number < 10 else last
    plain[begin:end] = listing
    end = plain.rindex(b"PK\5\6")
    plain[end + 8 : end + 20] = struct.pack("<HHII", 1001, 1001, len(listing), begin)
    return bytes(plain)


def laughs(depth: int = 12) -> dict:
    """Dictionaries of ten times the one below: few in the file, a great many when they are walked through."""
    value: dict = {"a": 1}
    for _ in range(depth):
        value = dict.fromkeys("0123456789", value)
    return value


def nested(depth: int) -> dict:
    value: dict = {"a": tensor(np.ones(2))}
    for _ in range(depth):
        value = {"a": value}
    return value


def itself() -> dict:
    value: dict = {"a": 1}
    value["b"] = value
    return value


def pickle_of(code: bytes) -> bytes:
    return packed({"archive/data.pkl": b"\x80\x02" + code})


def many_members() -> bytes:
    return packed({f"archive/data/{number}": b"" for number in range(2_000)})


HALF = struct.pack("<Q", 2**20)
LIES = {
    "a header of 10 GB": (st_header({}, length=HUGE), "its header has 10,000,000,000 bytes"),
    "a header to the last bit": (st_header({}, length=2**63 - 1)[:7] + b"\0{}", "header has"),
    "a header longer than its file": (st_header({"a": said([2])}, length=1_000), "cut off or damaged"),
    "an array of 10 GB": (st_header({"a": said([HUGE // 4])}, bytes(8)), "says that its arrays have"),
    "axes beyond all": (st_header({"a": said([2**62, 2**62, 0], end=0)}), "says that its arrays have"),
    "ninety axes": (st_header({"a": said([1] * 90, end=4)}, bytes(4)), "90 axes; expected at most 8"),
    "a negative axis": (st_header({"a": said([-1])}, bytes(8)), "found the shape"),
    "an axis that is no number": (st_header({"a": said(["x"])}, bytes(8)), "found the shape"),
    "arrays over each other": (st_header({"a": said([2]), "b": said([2])}, bytes(8)), "cannot be read as weights"),
    "an array beyond the end": (st_header({"a": said([2], begin=8, end=16)}, bytes(8)), "cannot be read as weights"),
    "bytes that nothing claims": (st_header({"a": said([2])}, bytes(80)), "cannot be read as weights"),
    "one name twice": (st_header(b'{"a":{},"a":{}}'), "the key 'a' stands there twice"),
    "a header that is no JSON": (st_header(b"{" + b"x" * 50), "cannot be read as JSON"),
    "a header too deep": (st_header(b"{" + b'"a":{' * 9000), "JSON"),
    "metadata that is no text": (st_header({"__metadata__": {"a": 1}}), "__metadata__"),
    "an unknown type": (st_header({"a": said([2], "F8_E4M3", end=2)}, bytes(2)), "numbers of type 'F8_E4M3'"),
    "storages of 10 GB": (
        zipped({"a": Tensor(Storage(np.ones(2), size=HUGE), 0, (2,), (1,))}),
        "16 bytes, expected 80,000,000,000",
    ),
    "old storages of 10 GB": (
        legacy({"a": Tensor(Storage(np.ones(2), size=HUGE), 0, (2,), (1,))}),
        "cut off or damaged",
    ),
    "one number expanded": (zipped(expanded(50_000, 50_000)), "says that its arrays have 10,000,000,000 bytes"),
    "one number expanded, old": (legacy(expanded(50_000, 50_000)), "says that its arrays have 10,000,000,000 bytes"),
    "a view beyond its storage": (
        zipped({"a": Tensor(Storage(np.ones(4)), 1, (2, 2), (2, 1))}),
        "reaches to number 5 of a storage of 32 bytes",
    ),
    "a negative offset": (zipped({"a": Tensor(Storage(np.ones(4)), -1, (2,), (1,))}), "expected a size"),
    "a negative stride": (zipped({"a": Tensor(Storage(np.ones(4)), 3, (2,), (-1,))}), "expected a size"),
    "a stride too many": (zipped({"a": Tensor(Storage(np.ones(4)), 0, (2,), (1, 1))}), "2 strides for 1 axes"),
    "an offset that is no number": (zipped({"a": Tensor(Storage(np.ones(4)), 0.5, (2,), (1,))}), "expected a size"),
    "true for a size": (zipped({"a": Tensor(Storage(np.ones(4)), 0, (True,), (1,))}), "expected a size"),
    "a hundred axes": (zipped(long_axes((1,) * 100)), "100 axes"),
    "sizes beyond all": (zipped(long_axes((2**61, 2**61, 0))), "says that its arrays have"),
    "members over each other": (overlapping(), "two members of one name"),
    "dictionaries without end": (zipped(laughs()), "values; expected a state_dict"),
    "dictionaries in dictionaries": (zipped(nested(40)), "within each other and more"),
    "a dictionary in itself": (zipped(itself()), "within each other and more"),
    "a number beyond all for what is kept": (pickle_of(b"}r\xff\xff\xff\x7f."), "no arrays"),
    "text of 4 GB": (pickle_of(b"X\xff\xff\xff\x7fabc."), "cannot be read as weights"),
    "bytes of 10 EB": (pickle_of(b"\x8e" + struct.pack("<Q", 2**63) + b"abc."), "cannot be read as weights"),
    "an integer without end": (pickle_of(b"\x8b" + struct.pack("<I", 5000) + b"\x7f" * 5000 + b"."), "bits"),
    "marks without end": (pickle_of(b"(" * 100_000 + b"."), "cannot be read as weights"),
    "lists without end": (pickle_of(b"]" * 100_000 + b"a" * 99_999 + b"."), "within each other and more"),
    "tuples as keys": (pickle_of(b"})" + b"\x85" * 100_000 + b"Ns."), "a tuple as a key"),
    "nothing on the stack": (pickle_of(b"R."), "cannot be read as weights"),
    "nothing to return": (pickle_of(b"."), "cannot be read as weights"),
    "a tuple of nothing": (pickle_of(b"\x87."), "cannot be read as weights"),
    "what was never kept": (pickle_of(b"h\x05."), "cannot be read as weights"),
    "no end": (pickle_of(b"}"), "cannot be read as weights"),
    "a key twice": (pickle_of(b"}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNu."), "the key 'a' stands there twice"),
    "one name in two ways": (
        zipped({"a.b": tensor(np.ones(1)), "a": {"b": tensor(np.ones(1))}}),
        "two arrays of this name",
    ),
    "no arrays": (zipped({"epoch": 3}), "holds no arrays"),
    "a name too long": (zipped({"a" * 300: tensor(np.ones(1))}), "the name of an array: found 300 letters"),
    "a name that breaks the line": (zipped({"a\nb": tensor(np.ones(1))}), r"the name of an array: found 'a\nb'"),
    "an empty name": (zipped(tensor(np.ones(1))), "the name of an array: found ''"),
    "the order of bytes": (zipped({"a": tensor(np.ones(1))}, 2, "big").replace(b"big", b"odd"), "CRC"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), LIES.values(), ids=LIES)
def test_what_a_file_says_of_itself_is_not_believed(tmp_path, content, expected):
    tracemalloc.start()
    try:
        assert expected in refusal(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_members_of_a_zip_that_are_not_as_torch_writes_them(tmp_path):
    parts = members({"a": tensor(np.ones(4))})
    assert "is compressed" in refusal(tmp_path, packed(parts, zipfile.ZIP_DEFLATED))
    missing = {name: content for name, content in parts.items() if name != "archive/data/0"}
    assert "'archive/data/0' is missing" in refusal(tmp_path, packed(missing))
    short = parts | {"archive/data/0": bytes(8)}
    assert "8 bytes, expected 32" in refusal(tmp_path, packed(short))
    assert "found 'odd'" in refusal(tmp_path, packed(parts | {"archive/byteorder": b"odd"}))
    assert "a zip with 5 members" in refusal(tmp_path, packed(parts | {"other/data.pkl": b""}))
    assert "a zip with 2,000 members" in refusal(tmp_path, many_members())
    encrypted = bytearray(packed(parts))
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in refusal(tmp_path, bytes(encrypted))
    pieces = {name.replace("archive/", "any name/"): content for name, content in parts.items()}
    assert read(tmp_path, packed(pieces)).arrays.keys() == {"a"}


@pytest.mark.parametrize("code", [b"cposix\nsystem\n.", b"}."])
def test_a_pickle_that_is_too_long(tmp_path, monkeypatch, code):
    monkeypatch.setattr(limits, "WEIGHTS_HEADER", 1_000)
    for write in WRITERS.values():
        content = write({f"{number:060}": tensor(np.ones(1)) for number in range(50)})
        assert "names and shapes take" in refusal(tmp_path, content)
    assert "header has" in refusal(tmp_path, st({f"{number:060}": np.ones(1) for number in range(50)}))


def test_limits_of_numbers_and_sizes(tmp_path, monkeypatch):
    arrays = {str(number): np.ones(9, np.float32) for number in range(9)}
    contents = st(arrays), npz(arrays), of_torch(arrays), of_torch(arrays, legacy)
    monkeypatch.setattr(limits, "WEIGHTS_ARRAYS", 8)
    for content in contents:
        assert re.search(r"\d+ arrays; expected at most 8|more than 8 values", refusal(tmp_path, content))
    monkeypatch.setattr(limits, "WEIGHTS_BYTES", 100)
    for content in contents:
        assert "bytes; expected at most 100" in refusal(tmp_path, content)
    monkeypatch.setattr(limits, "LISTING_BYTES", 100)
    monkeypatch.setattr(limits, "WEIGHTS_BYTES", 2**20)
    assert "a table of contents of" in refusal(tmp_path, of_torch(arrays))


def test_npz_that_lie(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (HUGE // 4,)})
    assert "expected those of (2500000000,)" in refusal(tmp_path, packed({"a.npy": buffer.getvalue() + bytes(8)}))
    plain = zipfile.ZipFile(io.BytesIO(npz({"a": np.ones(2)}))).read("a.npy")
    bomb = npz({"a": np.zeros(80_000_000, np.float32)}, np.savez_compressed)
    assert "says that its arrays have" in refusal(tmp_path, bomb)
    objects = npz({"a": np.array([{}, Evil(os.mkdir, str(tmp_path / "marker"))])})
    assert "Python objects, which are not read" in refusal(tmp_path, objects)
    assert not (tmp_path / "marker").exists()
    assert "does not tell bfloat16" in refusal(tmp_path, npz({"a": np.ones(2, jnp.bfloat16)}))
    assert "numbers of type" in refusal(tmp_path, npz({"a": np.ones(2, np.complex64)}))
    assert "holds 'b.txt'" in refusal(tmp_path, packed({"a.npy": plain, "b.txt": b""}))
    assert "cannot be read as weights" in refusal(tmp_path, packed({"a.npy": b"nonsense" * 9}))
    evil = b"\x93NUMPY\x01\x00" + struct.pack("<H", 4000) + b"(" * 3999 + b"\n"
    assert "cannot be read as weights" in refusal(tmp_path, packed({"a.npy": evil}))


# ---- what is no file of weights -------------------------------------------------------------------------------------

KINDS = {
    "empty": (b"", "empty"),
    "page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "page without a type": (b"<html><head>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a pointer of Git LFS"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "packed"),
    "xz": (b"\xfd7zXZ\x00" + bytes(20), "packed"),
    "tar": (b"a" * 257 + b"ustar\x0000", "a tar archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5, as Keras writes it"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x05" + bytes(20), "ONNX"),
    "saved model": (b"\x08\x01\x12\xf0\x01" + bytes(20), "a saved model of TensorFlow"),
    "index of a checkpoint": (b"\x00" * 100 + bytes.fromhex("57fb808b247547db"), "the index of a checkpoint of Tens"),
    "array": (b"\x93NUMPY\x01\x00" + bytes(20), "one array of numpy"),
    "pickle": (pickle.dumps({"a": 1}, 4), "a pickle that torch.save did not write"),
    "json": (b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', "JSON; where it lists the parts"),
    "language model": (b"GGUF" + bytes(20), "GGUF"),
    "text": (b"layer 1 weights", "begins with b'layer 1 weig', no file of weights that is known"),
    "zeros": (bytes(1000), "begins with b'"),
    "zip without members": (packed({}), "a zip with 0 members"),
    "document": (packed({"word/document.xml": b"<a/>"}), "a zip with 1 members, the first 'word/document.xml'"),
    "TorchScript": (packed({"x/data.pkl": b"", "x/constants.pkl": b""}), "a program of TorchScript"),
    "Keras": (packed({"config.json": b"", "model.weights.h5": b""}), "a model of Keras"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), KINDS.values(), ids=KINDS)
def test_other_files_are_told_by_what_they_are(tmp_path, content, expected):
    message = refusal(tmp_path, content)
    assert message.startswith(expected)
    assert "expected .safetensors, what torch.save writes" in message


def test_folders_pipes_and_what_is_not_there(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "round").symlink_to("round")
    assert refusal(tmp_path, None, "folder").startswith("a folder; expected a file")
    assert refusal(tmp_path, None, "pipe").startswith("a pipe; expected a file")
    assert refusal(tmp_path, None, "link").startswith("No such file")
    assert refusal(tmp_path, None, "round").startswith("Too many levels")


def test_nothing_of_a_long_file_is_read_before_it_is_known_what_it_is(tmp_path):
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert "no file of weights that is known" in refusal(tmp_path, None, "long")
    with path.open("r+b") as file:
        file.write(st_header({"a": said([2])}))
    assert "1,099,511,627,776 bytes; expected at most" in refusal(tmp_path, None, "long")


# ---- damage ---------------------------------------------------------------------------------------------------------

SMALL = {"a.weight": RNG.normal(size=(3, 4)).astype(np.float32), "b": np.arange(5), "c": np.float32([1])}
FORMATS = {
    "safetensors": st(SMALL, {"a": "b"}),
    "npz": npz(SMALL),
    "npz, compressed": npz(SMALL, np.savez_compressed),
    "zip": of_torch(SMALL),
    "legacy": of_torch(SMALL, legacy),
}
formats = pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)


@formats
def test_a_file_that_is_cut_off_is_refused(tmp_path, content):
    for length in np.unique(np.linspace(0, len(content) - 1, 150).astype(int)):
        refusal(tmp_path, content[:length])


@formats
def test_a_file_with_wrong_bytes_is_read_or_refused(tmp_path, content):
    """Only the zips have checksums. What is read has the names and shapes that it says."""
    rng = np.random.default_rng(1)
    outcomes = collections.Counter()
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(len(damaged), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path = tmp_path / "weights"
        path.write_bytes(damaged)
        try:
            files.read(path)
            outcomes["read"] += 1
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            outcomes["refused"] += 1
    assert outcomes["refused"] > 30


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", jnp.bfloat16, "float64"])
def test_numbers_that_are_not_finite_are_named(tmp_path, value, dtype):
    array = np.ones((3, 4), dtype)
    array[1, 2] = value
    arrays = {"fine": np.ones(2), "layer1.weight": array}
    contents = [st(arrays), of_torch(arrays), of_torch(arrays, legacy)]
    contents += [] if dtype == jnp.bfloat16 else [npz(arrays)]
    for content in contents:
        assert refusal(tmp_path, content).startswith(f"layer1.weight: holds {value}; expected finite numbers")


def test_the_stand_ins_are_gone_when_a_file_is_written():
    import sys

    before = sys.modules.get("torch")
    pickled({"a": tensor(np.ones(1))})
    assert sys.modules.get("torch") is before
