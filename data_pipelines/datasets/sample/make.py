"""Makes the sample: python -m data_pipelines.datasets.sample.make DIR [--seed=0] [--tiles=demo] [--workers=2].

Every tile depends on (seed, part, number) only, so `tiny` is the beginning of `demo`. Files appear under their name
when they are complete; a second run makes what is missing.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterable

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_pipelines.datasets.sample import aerial, landscape, sentinel
from data_pipelines.datasets.sample.noise import Draws
from data_pipelines.schema import progress, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.sensors import AERIAL, S1, S2

VERSION = "1.0.0"  # of the pixels: changes when a golden hash changes
STAMP = "sample.json"
LC_BANDS = ("IGBP", "LCCS_LC", "LCCS_LU", "LCCS_SH")


@dataclasses.dataclass(frozen=True)
class Part:
    """One season folder of the SEN12MS layout. `number` names its random streams and must never change."""

    number: int
    season: str
    scene: int
    labelled: bool
    epsg: int
    origin: tuple[float, float]  # of the first tile, in metres


PARTS = {
    "validation": Part(0, "ROIs0000_validation", 0, True, 32632, (500_000.0, 5_300_000.0)),
    "test": Part(1, "ROIs0000_test", 0, True, 32734, (420_000.0, 6_900_000.0)),
    "unlabelled": Part(2, "ROIs1158_spring", 1, False, 32631, (380_000.0, 4_900_000.0)),
}

# FLAIR-1 domains and their zones: (tree, domain, zone, first image number, date, time, easting, northing).
_ZONES = (
    ("train", "D052_2019", "Z3_AU", 26301, "2019-08-24", "09h12", 862_000.0, 6_783_000.0),
    ("train", "D038_2021", "Z7_FN", 19204, "2021-07-19", "10h41", 906_000.0, 6_459_000.0),
    ("train", "D004_2021", "Z10_AU", 826, "2021-06-14", "08h06", 953_000.0, 6_346_000.0),
    ("test", "D012_2019", "Z5_UN", 61712, "2019-06-27", "09h55", 667_000.0, 6_363_000.0),
)
_FLAIR_PART = 3
_FLAIR_FOLDERS = {
    "train": ("flair_aerial_train", "flair_labels_train"),
    "test": ("flair_1_aerial_test", "flair_1_labels_test"),
}
# The published files name no projection (they are in Lambert-93, EPSG:2154).
FLAIR_CRS = 'LOCAL_CS["unnamed",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'

# How many tiles of each part, FLAIR-1 patches of each of the four zones, and the edge of the scene in pixels.
SIZES = {
    "tiny": {"validation": 8, "test": 4, "unlabelled": 8, "flair": 1, "scene": 300},
    "demo": {"validation": 48, "test": 16, "unlabelled": 96, "flair": 4, "scene": 700},
    "study": {"validation": 100, "test": 24, "unlabelled": 400, "flair": 4, "scene": 700},
}
_SCENE_PART = 4
_SCENE_CORNER = (600_000.0, 5_400_000.0)  # in EPSG:32632, far from the tiles


def tile_arrays(seed: int, part: str, index: int) -> dict[str, np.ndarray]:
    """One tile as (H, W, bands) arrays: s1 float32 dB, s2 uint16, lc uint8 and, in labelled parts, dfc uint8."""
    stream = functools.partial(Draws, seed, PARTS[part].number, index)
    place = landscape.place(stream(0))
    arrays = {
        "s2": sentinel.sentinel2(place, stream(1)),
        "s1": sentinel.sentinel1(place, stream(2)),
        "lc": sentinel.land_cover_map(place, stream(3)),
    }
    return arrays | ({"dfc": place.classes[:, :, None]} if PARTS[part].labelled else {})


def scene_arrays(seed: int, edge: int) -> dict[str, np.ndarray]:
    """A landscape larger than a tile, to be mapped: s1, s2 and dfc as of a tile, (edge, edge, bands)."""
    stream = functools.partial(Draws, seed, _SCENE_PART, 0)
    place = landscape.place(stream(0), edge)
    return {
        "s2": sentinel.sentinel2(place, stream(1)),
        "s1": sentinel.sentinel1(place, stream(2)),
        "dfc": place.classes[:, :, None],
    }


def patch_arrays(seed: int, zone: int, index: int) -> dict[str, np.ndarray]:
    """One FLAIR-1 patch as (512, 512, bands) uint8 arrays: img with 5 bands, msk with 1."""
    image, mask = aerial.patch(Draws(seed, _FLAIR_PART, zone, index), _ZONES[zone][2].split("_")[1])
    return {"img": image, "msk": mask[:, :, None]}


def make(root: pathlib.Path, seed: int = 0, tiles: str = "demo", workers: int = 2) -> int:
    """Makes the sample under `root` and returns how many tiles and patches were made (0: all were there).

    Raises InputError where `root` cannot be written, or holds a sample of another seed or version.
    """
    if tiles not in SIZES:
        raise InputError(f"--tiles={tiles}: expected one of {', '.join(SIZES)}")
    if seed < 0 or workers < 1:
        raise InputError(f"--seed={seed} --workers={workers}: expected a seed of 0 or more and at least 1 worker")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _stamp(root, seed)
        jobs = list(_jobs(root, seed, tiles))
        write_atomically(root / "flair-1_metadata_aerial.json", json.dumps(_flair_metadata(tiles), indent=1) + "\n")
        missing = [job for job in jobs if not all(path.exists() for path in job.paths.values())]
        for _ in progress.bar(
            _each(_run, missing, workers), total=len(missing), desc=f"sample in {root}", unit=" tiles"
        ):
            pass
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error}); give a folder that you may write to") from error
    return len(missing)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What to draw and where each of its rasters goes."""

    draw: Callable[[], dict[str, np.ndarray]]
    paths: dict[str, pathlib.Path]
    crs: str
    transform: Affine


_DESCRIPTIONS = {"s1": S1.bands, "s2": S2.bands, "lc": LC_BANDS, "dfc": ("DFC",), "img": AERIAL.bands, "msk": ("MSK",)}


def _jobs(root: pathlib.Path, seed: int, tiles: str) -> Iterable[_Job]:
    for name, part in PARTS.items():
        sensors = ("s1", "s2", "lc", "dfc") if part.labelled else ("s1", "s2", "lc")
        for index in range(SIZES[tiles][name]):
            paths = {
                s: root / part.season / f"{s}_{part.scene}" / f"{part.season}_{s}_{part.scene}_p{index}.tif"
                for s in sensors
            }
            left, top = part.origin[0] + 2560 * (index % 12), part.origin[1] - 2560 * (index // 12)
            draw = functools.partial(tile_arrays, seed, name, index)
            yield _Job(draw, paths, f"EPSG:{part.epsg}", Affine(10.0, 0.0, left, 0.0, -10.0, top))
    for zone, index in _patches(tiles):
        tree, domain, area, first, *_ = _ZONES[zone]
        images, labels = (root / folder / domain / area for folder in _FLAIR_FOLDERS[tree])
        paths = {
            "img": images / "img" / f"IMG_{first + index:06d}.tif",
            "msk": labels / "msk" / f"MSK_{first + index:06d}.tif",
        }
        left, top = _patch_corner(zone, index)
        draw = functools.partial(patch_arrays, seed, zone, index)
        yield _Job(draw, paths, FLAIR_CRS, Affine(0.2, 0.0, left, 0.0, -0.2, top))
    paths = {name: root / "scenes" / f"scene_{name}.tif" for name in ("s1", "s2", "dfc")}
    draw = functools.partial(scene_arrays, seed, SIZES[tiles]["scene"])
    yield _Job(draw, paths, "EPSG:32632", Affine(10.0, 0.0, _SCENE_CORNER[0], 0.0, -10.0, _SCENE_CORNER[1]))


def _patches(tiles: str) -> Iterable[tuple[int, int]]:
    return ((zone, index) for zone in range(len(_ZONES)) for index in range(SIZES[tiles]["flair"]))


def _patch_corner(zone: int, index: int) -> tuple[float, float]:
    return _ZONES[zone][6] + 102.4 * index, _ZONES[zone][7]


def _flair_metadata(tiles: str) -> dict[str, dict]:
    """The fields of flair-1_metadata_aerial.json by image."""
    result = {}
    for zone, index in _patches(tiles):
        _, domain, area, first, date, time, *_ = _ZONES[zone]
        left, top = _patch_corner(zone, index)
        result[f"IMG_{first + index:06d}"] = {
            "domain": domain,
            "zone": area,
            "patch_centroid_x": round(left + 51.2, 1),
            "patch_centroid_y": round(top - 51.2, 1),
            "patch_centroid_z": 200.0 + 40.0 * zone + 2.0 * index,
            "date": date,
            "time": time,
            "camera": "UCE-M3-f120-s06" if zone % 2 else "UCE-M3-f100-s04",
        }
    return result


def _run(job: _Job) -> None:
    for name, array in job.draw().items():
        job.paths[name].parent.mkdir(parents=True, exist_ok=True)
        _write_raster(job.paths[name], array, _DESCRIPTIONS[name], job.crs, job.transform)


def _write_raster(path: pathlib.Path, array: np.ndarray, descriptions: tuple[str, ...], crs: str, transform: Affine):
    """A GeoTIFF (H, W, bands), complete or not there at all."""
    height, width, count = array.shape
    temporary = path.with_name(f".{path.name}.part")
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": array.dtype}
    profile |= {"crs": CRS.from_user_input(crs), "transform": transform, "interleave": "pixel"}
    profile |= {"compress": "deflate", "zlevel": 1, "predictor": 3 if array.dtype.kind == "f" else 2}
    with rasterio.open(temporary, "w", **profile) as file:
        file.write(np.moveaxis(array, 2, 0))
        file.descriptions = descriptions
    os.replace(temporary, path)


def _stamp(root: pathlib.Path, seed: int) -> None:
    """Notes seed and version in `root`, or checks them: tiles of two seeds must never stand side by side."""
    stamp, path = {"seed": seed, "version": VERSION}, root / STAMP
    if path.exists():
        found = typed_json.read(path, dict[str, int | str], "remove it")
        if found != stamp:
            raise InputError(f"{path}: holds a sample of {found}, asked for {stamp}; give another folder, or remove it")
    else:
        write_atomically(path, json.dumps(stamp) + "\n")


def _each(function: Callable, items: list, workers: int) -> Iterable:
    """Calls the function on every item, in this process or in a pool of fresh ones."""
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(items))) as pool:
        yield from pool.imap_unordered(function, items)


def main(arguments: list[str] | None = None) -> int:
    """Makes the sample as the command line asks, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.datasets.sample.make", description=__doc__.split("\n")[0]
    )
    parser.add_argument("dir", type=pathlib.Path, help="where the sample goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiles", default="demo", help=f"how many: {', '.join(SIZES)}")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    try:
        made = make(options.dir, options.seed, options.tiles, options.workers)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    total = len(list(_jobs(options.dir, options.seed, options.tiles)))
    print(f"{options.dir}: {total} tiles, patches and scenes, {made} of them made now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
