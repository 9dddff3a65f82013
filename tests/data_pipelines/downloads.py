"""Tiny files in the published layout of DFC2020 and SEN12MS."""

import pathlib

import numpy as np
import rasterio
from rasterio import Affine

EDGE = 16


def write_geotiff(path: pathlib.Path, values: np.ndarray, names: tuple[str, ...] = (), nodata: float | None = None):
    """Writes (bands, H, W) as a georeferenced GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    with rasterio.open(path, "w", **profile, **place, nodata=nodata) as raster:
        raster.write(values)
        raster.descriptions = names or (None,) * count


def parts(number: int, edge: int = EDGE) -> dict[str, np.ndarray]:
    """The published arrays (bands, H, W) of one patch; every patch differs."""
    rng = np.random.default_rng(number)
    arrays = {
        "s1": rng.uniform(-24, -2, (2, edge, edge)).astype(np.float32),
        "s2": rng.integers(0, 10_000, (13, edge, edge)).astype(np.uint16),
        "dfc": rng.integers(1, 11, (1, edge, edge)).astype(np.uint8),
        "lc": rng.integers(1, 18, (4, edge, edge)).astype(np.uint8),
    }
    arrays["s2"][10] //= 200  # B10 sees next to nothing
    return arrays


def path_of(root: pathlib.Path, roi: str, part: str, patch: int, scene: str = "0", folder: str = "") -> pathlib.Path:
    return root / roi / f"{part}_{folder or scene}" / f"{roi}_{part}_{scene}_p{patch}.tif"


def write_patch(root: pathlib.Path, roi: str, patch: int, scene: str = "0", folder: str = "", only=("s1", "s2", "dfc")):
    for part, values in parts(patch).items():
        if part in only:
            write_geotiff(path_of(root, roi, part, patch, scene, folder), values)


def write_patches(root: pathlib.Path) -> pathlib.Path:
    """20 validation, 3 test and 4 unlabelled patches."""
    for patch in range(20):
        write_patch(root, "ROIs0000_validation", patch)
    for patch in range(3):
        write_patch(root, "ROIs0000_test", patch)
    for scene, patch in (("2", 30), ("10", 4), ("2", 100), ("2", 31)):
        write_patch(root, "ROIs1158_spring", patch, scene, only=("s1", "s2"))
    return root
