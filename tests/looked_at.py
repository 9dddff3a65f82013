"""A map with all that may be shown beside it: confidence, areas, a scene, a truth in another CRS."""

import json
import pathlib
import types

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

HEIGHT, WIDTH, NODATA = 600, 700, 255
CLASSES = [(1, "Forest", "#1b7837"), (2, "Water", "#2166ac"), (9, "Built & <b>", "#b2182b")]
TRANSFORM = rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000)
PLACE = {"crs": "EPSG:32633", "transform": TRANSFORM}


def make(folder: pathlib.Path, cog: bool = True) -> types.SimpleNamespace:
    """Writes the files; returns their paths and what they hold."""
    rng = np.random.default_rng(5)
    blocks = rng.choice([number for number, _, _ in CLASSES], (HEIGHT // 20, WIDTH // 20)).astype(np.uint8)
    ids = blocks.repeat(20, 0).repeat(20, 1)
    ids[:40, :60] = NODATA
    confidence = np.where(ids == NODATA, 255, rng.integers(80, 251, ids.shape)).astype(np.uint8)
    bands = (400 * ids[None].astype(np.uint16) % 2999 + rng.integers(1, 900, (3, HEIGHT, WIDTH))).astype(np.uint16)
    hole = np.zeros(ids.shape, bool)
    hole[550:, 600:] = True
    bands[:, hole] = 0
    paths = {name: folder / f"{name}.tif" for name in ("map", "map_confidence", "scene", "truth")}
    names = json.dumps({number: name for number, name, _ in CLASSES})
    with _out(paths["map"], ids[None], cog, nodata=NODATA) as out:
        out.write_colormap(1, {number: (*bytes.fromhex(colour[1:]), 255) for number, _, colour in CLASSES})
        out.update_tags(LCJAX_CLASSES=names, LCJAX_LEGEND="three")
    _finish(paths["map"], cog)
    with _out(paths["map_confidence"], confidence[None], cog, nodata=255) as out:
        out.scales = (1 / 250,)
    _finish(paths["map_confidence"], cog)
    with _out(paths["scene"], bands, cog) as out:
        out.descriptions = ("B2", "B3", "B4")
    _finish(paths["scene"], cog)
    _write_areas(paths["map"], ids)
    labels = np.where(rng.random(ids.shape) < 0.2, np.uint8(2), ids)
    labels[300:320, 300:320] = 77
    _write_elsewhere(paths["truth"], labels)
    return types.SimpleNamespace(
        **paths, ids=ids, confidence=confidence, bands=bands, hole=hole, labels=labels, folder=folder
    )


def _out(path: pathlib.Path, values: np.ndarray, cog: bool, **more):
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype, **PLACE, **more}
    out = rasterio.open(_plain(path) if cog else path, "w", driver="GTiff", **profile)
    out.write(values)
    return out


def _plain(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".plain.tif")


def _finish(path: pathlib.Path, cog: bool) -> None:
    if cog:
        rasterio.shutil.copy(_plain(path), path, driver="COG", BLOCKSIZE=256, OVERVIEW_RESAMPLING="NEAREST")
        _plain(path).unlink()


def _write_areas(path: pathlib.Path, ids: np.ndarray) -> None:
    mapped = int((ids != NODATA).sum())
    rows = ["id,name,colour,pixels,percent,hectares,hectares_grid"]
    for number, name, colour in CLASSES:
        pixels = int((ids == number).sum())
        rows.append(f"{number},{name},{colour},{pixels},{100 * pixels / mapped:.6f},{pixels / 100},{pixels / 100}")
    rows.append(f"{NODATA},no data,,{int((ids == NODATA).sum())},,,")
    path.with_suffix(".areas.csv").write_text("\n".join(rows) + "\n")


def _write_elsewhere(path: pathlib.Path, labels: np.ndarray) -> None:
    """Writes labels in degrees, of 255 where there are none."""
    west, south, east, north = transform_bounds(PLACE["crs"], "EPSG:4326", *_bounds())
    width, height = 780, 520
    transform = rasterio.Affine((east - west) / width, 0, west, 0, (south - north) / height, north)
    moved = np.full((height, width), 255, np.uint8)
    reproject(
        labels, moved, src_transform=TRANSFORM, src_crs=PLACE["crs"], dst_transform=transform, dst_crs="EPSG:4326",
        src_nodata=255, dst_nodata=255, resampling=Resampling.nearest,
    )  # fmt: skip
    profile = {"count": 1, "height": height, "width": width, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4326", transform=transform, **profile) as out:
        out.write(moved, 1)


def _bounds() -> tuple[float, float, float, float]:
    t = TRANSFORM
    return t.c, t.f + HEIGHT * t.e, t.c + WIDTH * t.a, t.f
