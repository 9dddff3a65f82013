"""Small images and masks of any kind, and the CSVs that describe them."""

import pathlib

import numpy as np
import rasterio
import rasterio.shutil
from rasterio import Affine
from rasterio.enums import ColorInterp

from data_pipelines.geo import raster_io

LEGEND = "id,name,colour,ignore\n1,water,#0000FF,\n2,forest,#008000,0\n7,other,#808080,yes\n"
DRIVERS = {".tif": "GTiff", ".png": "PNG", ".jpg": "JPEG"}


def write(
    path: pathlib.Path, values: np.ndarray, *, driver="", names=(), nodata=None, palette=None, interp=(), **place
):
    """Writes (bands, H, W) in the format that the suffix says; without `crs` it lies nowhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    driver = driver or DRIVERS[path.suffix]
    temporary = path if driver == "GTiff" else path.with_suffix(".source.tif")
    if place.get("crs"):
        place = {"transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)} | place
    with raster_io.anywhere():
        with rasterio.open(temporary, "w", **profile, nodata=nodata, **place) as file:
            if interp:
                file.colorinterp = interp
            if palette:
                file.write_colormap(1, palette)
            file.write(values)
            if names:
                file.descriptions = names
        if temporary != path:
            rasterio.shutil.copy(temporary, path, driver=driver)
            temporary.unlink()
            path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)


def picture(seed: int, height=40, width=70, bands=3, dtype="uint8") -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.normal(3, 2, (bands, height, width)).astype(dtype)
    top = min(np.iinfo(dtype).max, 4000)
    return rng.integers(1, top, (bands, height, width)).astype(dtype)


def ids(seed: int, height=40, width=70) -> np.ndarray:
    return np.random.default_rng(seed + 1000).choice(np.array([1, 2, 7], np.uint8), (1, height, width))


def colours(values: np.ndarray) -> np.ndarray:
    """A mask of ids (1, H, W) in the colours of LEGEND, (3, H, W)."""
    table = np.zeros((256, 3), np.uint8)
    table[[1, 2, 7]] = (0, 0, 255), (0, 128, 0), (128, 128, 128)
    return np.moveaxis(table[values[0]], -1, 0)


def folder(
    root: pathlib.Path, count=4, splits=("train", "train", "validation", "test"), bands=3, dtype="uint8"
) -> pathlib.Path:
    """`count` pairs of GeoTIFFs with their CSVs; returns the CSV of pairs."""
    rows = []
    for k in range(count):
        write(root / f"i{k}.tif", picture(k, bands=bands, dtype=dtype), interp=[ColorInterp.undefined] * bands)
        write(root / f"m{k}.tif", ids(k))
        rows.append(f"i{k}.tif,m{k}.tif,{splits[k]},g{k}\n")
    (root / "rasters.csv").write_text("image,mask,split,group\n" + "".join(rows))
    (root / "legend.csv").write_text(LEGEND)
    return root / "rasters.csv"
