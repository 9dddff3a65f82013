"""Damaged rasters: bytes that changed, tags that lie, sizes that are not there, numbers of odd kinds."""

import pathlib
import struct
from collections.abc import Callable, Iterable

import damage
import numpy as np
import own
import rasterio
import rasterio.shutil
from corpus import Asked, Case, Place, seeded

from data_pipelines.geo import raster_io

Change = Callable[[pathlib.Path, np.random.Generator], None]


def _entries(data: bytearray, number: int) -> list[int]:
    """Where the entries of a tag stand in the first directory of a little-endian TIFF."""
    start = struct.unpack_from("<I", data, 4)[0]
    every = (start + 2 + 12 * k for k in range(struct.unpack_from("<H", data, start)[0]))
    return [at for at in every if struct.unpack_from("<H", data, at)[0] == number]


def _tag(number: int, value: int) -> Change:
    """Sets the value of a tag."""

    def change(path: pathlib.Path, rng: np.random.Generator) -> None:
        data = bytearray(path.read_bytes())
        at = _entries(data, number)[0]
        kind = struct.unpack_from("<H", data, at + 2)[0]
        struct.pack_into("<H" if kind == 3 else "<I", data, at + 8, value % (2**16 if kind == 3 else 2**32))
        path.write_bytes(data)

    return change


def _count(number: int, value: int) -> Change:
    """Sets how many values a tag says it has."""

    def change(path: pathlib.Path, rng: np.random.Generator) -> None:
        data = bytearray(path.read_bytes())
        for at in _entries(data, number):
            struct.pack_into("<I", data, at + 4, value)
        path.write_bytes(data)

    return change


WIDTH, HEIGHT, BITS, COMPRESSION, OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR = 256, 257, 258, 259, 273, 277, 278, 279, 284


def _own_loop(path: pathlib.Path, rng: np.random.Generator) -> None:
    """The next directory is the first one again."""
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    path.write_bytes(data)


def _as(driver: str, dtype: str = "uint8") -> Change:
    """The same pixels in another format, and then cut short or flipped, under the old name."""

    def change(path: pathlib.Path, rng: np.random.Generator) -> None:
        other = path.with_suffix(".other")
        with raster_io.anywhere():
            rasterio.shutil.copy(path, other, driver=driver)
        other.replace(path)
        for left in path.parent.glob("*.other*"):
            left.unlink()
        (damage.cut, damage.flipped, damage.lost_sector)[rng.integers(3)](path, rng)

    return change


TAGS: dict[str, Change] = {
    "width_0": _tag(WIDTH, 0),
    "width_huge": _tag(WIDTH, 2**31 - 1),
    "height_0": _tag(HEIGHT, 0),
    "height_huge": _tag(HEIGHT, 2**31 - 1),
    "bits_64": _count(BITS, 2**20),
    "compression_unknown": _tag(COMPRESSION, 999),
    "compression_lzw": _tag(COMPRESSION, 5),
    "compression_jpeg": _tag(COMPRESSION, 7),
    "offset_beyond": _tag(OFFSETS, 2**31),
    "offset_0": _tag(OFFSETS, 0),
    "offsets_many": _count(OFFSETS, 2**30),
    "samples_60000": _tag(SAMPLES, 60_000),
    "samples_0": _tag(SAMPLES, 0),
    "rows_0": _tag(ROWS, 0),
    "rows_huge": _tag(ROWS, 2**31),
    "counts_huge": _tag(COUNTS, 2**31),
    "counts_many": _count(COUNTS, 2**30),
    "planar_9": _tag(PLANAR, 9),
    "directory_loop": _own_loop,
}
BYTES: dict[str, Change] = {change.__name__: change for change in damage.RASTER if change is not damage.meaningless}
FORMATS: dict[str, Change] = {f"damaged_{name.lower()}": _as(name) for name in ("PNG", "JPEG", "JP2OpenJPEG", "HFA")}


def _plain(path: pathlib.Path) -> None:
    """Written anew without names, place and compression, so that its tags lie where they are looked for."""
    with raster_io.anywhere(), rasterio.open(path) as dataset:
        values = dataset.read()
    path.unlink()
    own.write(path, values, crs="EPSG:32633")


def _in_data_set(change: Change, part: str, *, plain: bool) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        path = source / f"{part}0.tif"
        if plain:
            _plain(path)
        change(path, place.rng)
        # What is harmless (another dtype of a mask, a flipped bit in the place) is taken; a refusal names the file.
        return Asked(
            place.prepare(source, "rasters/x", "--tile=32"), (path.name, f"{'mi'['im'.index(part)]}0.tif"), "either"
        )

    return make


def _as_scene(change: Change, *, plain: bool) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        scene = place.copy("scene.tif")
        if plain:
            _plain(scene)
        change(scene, place.rng)
        return Asked(place.predict(scene), (scene.name,), "either")

    return make


def _odd(dtype: str, bands: int = 3) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        for k in range(4):
            (source / f"i{k}.tif").unlink()
            values = np.ones((bands, 64, 64), dtype) * np.arange(64, dtype="float32").astype(dtype)
            own.write(source / f"i{k}.tif", values)
        return Asked(place.prepare(source), ("i0.tif",), "either")

    return make


def _floats(value: float) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        for k in range(4):
            (source / f"i{k}.tif").unlink()
            values = own.picture(k, 64, 64, dtype="float32")
            values[:, 5:9, 5:9] = value
            own.write(source / f"i{k}.tif", values)
        return Asked(place.prepare(source), ("i0.tif", "rasters.csv"), "either")

    return make


def _of_no_kind(kind: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        scene = place.given / "scene.tif"
        make_it(scene, kind)
        return Asked(place.predict(scene), ("scene.tif",))

    return make


def make_it(path: pathlib.Path, kind: str) -> None:
    """Something that is no file, or no raster, under the name of one."""
    import os

    {
        "pipe": lambda: os.mkfifo(path),
        "zeros": lambda: path.symlink_to("/dev/zero"),
        "random": lambda: path.symlink_to("/dev/urandom"),
        "folder": path.mkdir,
        "nothing": lambda: path.symlink_to("nothing"),
        "itself": lambda: path.symlink_to(path.name),
        "text": lambda: path.write_text("hello"),
        "empty": path.touch,
        "zip": lambda: path.write_bytes(b"PK\3\4" + bytes(100)),
    }[kind]()


def cases() -> Iterable[Case]:
    for changes, plain, seeds in ((TAGS, True, 1), (BYTES, False, 3), (FORMATS, False, 4)):
        for name, change in changes.items():
            for part in "im":
                yield from seeded(
                    f"damaged {'image' if part == 'i' else 'mask'}: {name}",
                    _in_data_set(change, part, plain=plain),
                    seeds,
                )
            yield from seeded(f"damaged scene: {name}", _as_scene(change, plain=plain), seeds)
    for dtype in ("int32", "uint32", "float64", "complex64", "int8", "complex128"):
        yield Case(f"odd numbers: {dtype}", _odd(dtype))
    for value in (np.nan, np.inf, -np.inf, 3e38, -9999.0):
        yield Case(f"odd values: {value}", _floats(value))
    for kind in ("pipe", "zeros", "random", "folder", "nothing", "itself", "text", "empty", "zip"):
        yield Case(f"no raster as scene: {kind}", _of_no_kind(kind))
