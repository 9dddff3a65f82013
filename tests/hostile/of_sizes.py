"""Sizes that are not there: sparse rasters, flags, bands."""

import pathlib
from collections.abc import Callable, Iterable

import rasterio
from corpus import Asked, Case, Place

from data_pipelines.geo import raster_io


def sparse(path: pathlib.Path, width: int, height: int, **more) -> None:
    """A raster of a few kilobytes that says it is large."""
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "SPARSE_OK": True,
        "BIGTIFF": "YES",
        "compress": "deflate",
    }
    profile |= {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    tiled = {"tiled": True, "blockxsize": 1024, "blockysize": 1024} if min(width, height) > 2000 else {}
    with raster_io.anywhere(), rasterio.open(path, "w", width=width, height=height, **profile | tiled | more):
        pass


SIZES = {
    "million": (10**6, 10**6),
    "wide": (10**7, 16),
    "tall": (16, 10**7),
    "wide_strip": (5 * 10**7, 16),
    "100000": (100_000, 100_000),
}
FLAGS = {
    "tile": "--tile=1000000000",
    "tile_minus": "--tile=-5",
    "workers": "--workers=1000000000",
    "workers_0": "--workers=0",
    "refused": "--max_refused=nan",
    "refused_2": "--max_refused=2",
    "tile_huge": "--tile=" + "9" * 400,
    "workers_text": "--workers=all",
    "tile_float": "--tile=1e9",
    "nodata": "--max_nodata=-1",
}
PREDICT = {
    "batch": "--batch_size=1000000000",
    "batch_0": "--batch_size=0",
    "overlap": "--overlap=1000000000",
    "overlap_minus": "--overlap=-1",
    "memory": "--max_memory=-1",
    "date": "--date=0001-01-01",
    "date_9999": "--date=9999-12-31",
    "date_text": "--date=2020-99-99",
    "offset": "--offset=nan",
    "bands": "--bands=" + "a," * 5000,
}


def _image(width: int, height: int, part: str, bands: int = 3) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        (source / f"{part}0.tif").unlink()
        sparse(source / f"{part}0.tif", width, height, count=bands if part == "i" else 1)
        return Asked(place.prepare(source), ("i0.tif", "m0.tif"))

    return make


def _scene(width: int, height: int) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        sparse(place.given / "scene.tif", width, height)
        return Asked(place.predict(place.given / "scene.tif"), ("scene.tif", "map.tif"))

    return make


def _all_of_many_bands(place: Place) -> Asked:
    source = place.copy("source")
    for k in range(4):
        (source / f"i{k}.tif").unlink()
        sparse(source / f"i{k}.tif", 64, 64, count=2000)
    return Asked(place.prepare(source), ("i0.tif",))


def _flag(flag: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        return Asked([*place.prepare(place.copy("source")), flag], (flag.partition("=")[0].strip("-"),))

    return make


def _of_predict(flag: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        harmless = flag.startswith(("--date=0001", "--date=9999"))
        asked = Asked(
            [*place.predict(place.world.folder / "scene.tif"), flag], (flag.partition("=")[0].strip("-"), "scene.tif")
        )
        return Asked(asked.command, asked.names, "either" if harmless else "refuse")

    return make


def cases() -> Iterable[Case]:
    for name, (width, height) in SIZES.items():
        yield from (Case(f"large image or mask: {name}", _image(width, height, part), k) for k, part in enumerate("im"))
        yield Case(f"large scene: {name}", _scene(width, height))
    yield Case("image of 2000 bands", _image(64, 64, "i", 2000))
    yield Case("image of 60000 bands", _image(64, 64, "i", 60_000))
    yield Case("all images of 2000 bands", _all_of_many_bands)
    yield from (Case(f"flag of prepare: {name}", _flag(flag)) for name, flag in FLAGS.items())
    yield from (Case(f"flag of predict: {name}", _of_predict(flag)) for name, flag in PREDICT.items())
