"""GeoTIFF in, map out: opens scenes, refuses those that do not fit the card, reads strips, writes the COG.

What a network is shown must be what it was trained on, so everything that a file leaves open (band names, the offset
of Sentinel-2 products, the unit of radar backscatter) is read from the file, asked for, or refused; never guessed
silently. Only this module of lcjax imports rasterio; what the numbers mean is decided in `calibration`.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from xml.sax import saxutils

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
from rasterio.windows import Window

from data_pipelines.bands import Sensor, band_indices, canonical, to_storage
from data_pipelines.errors import InputError
from data_pipelines.legends import IGNORE, Legend
from lcjax.calibration import CALIBRATIONS
from lcjax.card import Card

SMALLEST = 16  # pixels along an edge: below that a scene says nothing about its surroundings
_SAMPLE_GRID, _SAMPLE_EDGE = 6, 160  # statistics come from at most 6 x 6 windows of 160 x 160 pixels


@dataclasses.dataclass(frozen=True)
class Layer:
    """One sensor's file. The physical value of band k is raw * gain[k] + shift[k]."""

    sensor: Sensor
    path: pathlib.Path
    dataset: rasterio.DatasetReader
    indices: tuple[int, ...]  # of the sensor's bands in the file, from 1
    gain: np.ndarray
    shift: np.ndarray

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """The stored integers (h, w, bands) of the sensor and which pixels are valid (h, w) bool.

        A pixel is valid when no band is masked (no-data value, mask, alpha), NaN or infinite, and not every band is 0
        (Sentinel-2's own no-data value; also what mosaics are padded with). The others hold what scales to zero.
        """
        raw, valid = _read_valid(self.dataset, self.indices, window)
        stored = np.empty((*valid.shape, len(self.indices)), self.sensor.dtype)
        empty = np.asarray(self.sensor.scaling.offset) / self.sensor.scaling.unit
        empty = np.broadcast_to(np.rint(empty).astype(stored.dtype), len(self.indices))
        for k in range(len(self.indices)):  # band by band: the widened copies stay small
            values = raw[k]
            if self.gain[k] != 1 or self.shift[k] != 0:
                values = values * self.gain[k] + self.shift[k]
            stored[..., k] = np.where(valid, to_storage(self.sensor, np.where(valid, values, 0)), empty[k])
        return stored, valid


@dataclasses.dataclass(frozen=True)
class Scene:
    """One or more sensors on one grid."""

    layers: tuple[Layer, ...]

    @property
    def grid(self) -> rasterio.DatasetReader:
        """The file whose CRS, transform, width and height the map takes over."""
        return self.layers[0].dataset

    def read(self, first: int, end: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Rows first to end: {sensor: (rows, width, bands) stored integers}, pixels valid in every sensor."""
        window = Window(0, first, self.grid.width, end - first)
        parts = {layer.sensor.name: layer.read(window) for layer in self.layers}
        return {name: stored for name, (stored, _) in parts.items()}, np.logical_and.reduce(
            [valid for _, valid in parts.values()]
        )

    def picture(self, edge: int) -> np.ndarray:
        """The last sensor's display bands, stretched to 8 bits, at most `edge` pixels long: (h, w, 3) uint8."""
        layer = self.layers[-1]
        height, width = shrunk(self.grid.height, self.grid.width, edge)
        indices = [layer.indices[layer.sensor.bands.index(band)] for band in layer.sensor.display]
        raw = layer.dataset.read(indices, out_shape=(len(indices), height, width), masked=True)
        values = np.moveaxis(np.ma.masked_invalid(raw.astype(np.float64)).filled(np.nan), 0, -1)
        values[(values == 0).all(-1)] = np.nan
        low, high = np.nanpercentile(values, (2, 98), axis=(0, 1))
        grey = np.nan_to_num((values - low) / np.maximum(high - low, 1e-9), nan=1.0).clip(0, 1)
        grey = grey**0.7  # else a bright beach leaves the forest black
        return np.broadcast_to(np.rint(255 * grey).astype(np.uint8), (height, width, 3))


@contextlib.contextmanager
def open_scene(
    card: Card,
    files: dict[str, pathlib.Path],
    *,
    bands: Sequence[str] = (),
    offset: float | None = None,
    say: Callable[[str], None] = print,
) -> Iterator[Scene]:
    """Opens the files of a scene as the card's sensors; a context manager that gives a Scene.

    Args:
      card: names the sensors, their bands and ground sampling, and the tile.
      files: sensor name -> GeoTIFF, one for each sensor of the card.
      bands: band names in file order, for files that name none; with several files, those of all of them.
      offset: added to the digital numbers of Sentinel-2; None leaves it to the metadata.
      say: takes each line that the user should read.

    Raises InputError where a file, a band, a unit, the grid or the offset does not fit the card.
    """
    names = {sensor.name for sensor in card.sensors}
    if set(files) != names:
        raise InputError(
            f"--scene: files for {', '.join(files) or 'no sensor'}, but the network takes {', '.join(sorted(names))}; "
            f"give --scene={','.join(f'{name}=FILE' for name in sorted(names))}"
        )
    if offset is not None and "s2" not in names:
        raise InputError(
            f"--offset={offset:g}: only for Sentinel-2, but the network takes {', '.join(names)}; leave it out"
        )
    with contextlib.ExitStack() as stack:
        layers = []
        for sensor in card.sensors:
            path = files[sensor.name]
            dataset = stack.enter_context(_open(path))
            _check_ground(dataset, sensor, path)
            of_file = bands if len(files) == 1 else [band for band in bands if band in sensor.bands]
            found = _band_names(dataset, sensor, path, of_file, card, say)
            indices = tuple(index + 1 for index in band_indices(sensor, found, str(path)))
            sample = _sample(dataset, indices, path)
            gain, shift = CALIBRATIONS[sensor.name](dataset, indices, sample, path, offset, say)
            layers.append(Layer(sensor, path, dataset, indices, gain, shift))
        _check_same_grid(layers)
        height, width = layers[0].dataset.shape
        if min(height, width) < card.tile:
            say(f"{layers[0].path}: {width} x {height} pixels, smaller than a tile of {card.tile}; mapped as one piece")
        yield Scene(tuple(layers))


# ---- opening and checking -------------------------------------------------------------------------------------------


def _open(path: pathlib.Path) -> rasterio.DatasetReader:
    if not path.is_file():
        raise InputError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected a GeoTIFF scene")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # refused below, in one clear line
        try:
            dataset = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise InputError(f"{path}: not a raster that GDAL can read; expected a GeoTIFF scene") from error
    for missing, absent, example in (
        ("coordinate reference system (CRS)", dataset.crs is None, "--crs EPSG:32633"),
        (
            "transform from pixels to coordinates",
            dataset.transform.is_identity,
            "--transform '[10, 0, LEFT, 0, -10, TOP]'",
        ),
    ):
        if absent:
            dataset.close()
            raise InputError(
                f"{path}: no {missing}, so the map would lie nowhere; expected a georeferenced scene; "
                f"if you know it, write it in, e.g. `rio edit-info {example} {path.name}`"
            )
    if min(dataset.shape) < SMALLEST:
        found = f"{dataset.width} x {dataset.height}"
        dataset.close()
        raise InputError(f"{path}: {found} pixels; expected at least {SMALLEST} x {SMALLEST}; take a larger cut")
    return dataset


def _check_ground(dataset: rasterio.DatasetReader, sensor: Sensor, path: pathlib.Path) -> None:
    t = dataset.transform
    columns, rows = (t.a, t.d), (t.b, t.e)
    if dataset.crs.is_geographic:
        latitude = t.f + t.d * dataset.width / 2 + t.e * dataset.height / 2
        degree = math.pi / 180 * 6371008.8  # metres on the mean sphere: good to 0.5 %, the check needs 50 %
        factors = degree * math.cos(math.radians(latitude)), degree
    elif dataset.crs.is_projected:
        factors = (dataset.crs.linear_units_factor[1],) * 2
    else:
        raise InputError(
            f"{path}: CRS {dataset.crs.to_string():.60} is neither geographic nor projected; expected a map projection "
            "or longitude and latitude; warp it, e.g. `rio warp --dst-crs EPSG:32633`"
        )
    found = [math.hypot(x * factors[0], y * factors[1]) for x, y in (columns, rows)]
    if any(not 1 / 1.5 <= metres / sensor.ground_sampling <= 1.5 for metres in found):
        raise InputError(
            f"{path}: pixels of {found[0]:.3g} x {found[1]:.3g} m, but the network knows {sensor.name} at "
            f"{sensor.ground_sampling:g} m; resample it first, e.g. `gdalwarp -tr {sensor.ground_sampling:g} "
            f"{sensor.ground_sampling:g} -r bilinear` in a CRS of metres"
        )


def _band_names(dataset, sensor, path, listed: Sequence[str], card: Card, say) -> list[str | None]:
    """Names of the file's bands in order: those of --bands, else those of the file."""
    own = [canonical(name) for name in dataset.descriptions]
    if listed:
        if len(listed) != dataset.count:
            raise InputError(
                f"{path}: {dataset.count} bands, but --bands lists {len(listed)} for it ({', '.join(listed)}); "
                "list every band of the file in its order"
            )
        known = [(a, b) for a, b in zip(own, listed, strict=True) if a]
        if any(a != b for a, b in known):
            say(f"{path}: the file names its bands {', '.join(map(str, own))}; --bands has been followed instead")
        return list(listed)
    if not any(name in sensor.bands for name in own):
        everything = ",".join(s.name for s in card.sensors)
        if dataset.count != len(sensor.bands):
            raise InputError(
                f"{path}: {dataset.count} bands without known names; expected the {len(sensor.bands)} of {sensor.name} "
                f"({', '.join(sensor.bands)}); list the file's bands in their order with --bands=NAME,NAME,..."
            )
        raise InputError(
            f"{path}: {dataset.count} bands without known names; expected {', '.join(sensor.bands)}; if they stand in "
            f"that order add --bands={everything}, else list their names in file order with --bands"
        )
    return list(dataset.descriptions)


def _check_same_grid(layers: Sequence[Layer]) -> None:
    first = layers[0]
    for other in layers[1:]:
        a, b = first.dataset, other.dataset
        corners = np.array([(0, a.width, 0, a.width), (0, 0, a.height, a.height), (1, 1, 1, 1)])
        matrices = [np.array(d.transform).reshape(3, 3) for d in (a, b)]
        apart = np.abs(np.linalg.solve(matrices[0], matrices[1] @ corners) - corners).max()
        for difference, same in (
            (f"CRS {b.crs.to_string()} where {first.path} has {a.crs.to_string()}", a.crs == b.crs),
            (f"{b.width} x {b.height} pixels where {first.path} has {a.width} x {a.height}", a.shape == b.shape),
            (f"corners up to {apart:.3g} pixels away from those of {first.path}", apart < 0.01),
        ):
            if not same:
                raise InputError(
                    f"{other.path}: {difference}; expected one grid for all sensors; warp one onto the other, "
                    f"e.g. `rio warp {other.path.name} aligned.tif --like {first.path.name}`"
                )


def _read_valid(dataset, indices, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Raw values (bands, h, w), and where they are data (h, w)."""
    try:
        masked = dataset.read(indices, window=window, masked=True)
    except rasterio.errors.RasterioIOError as error:
        raise InputError(
            f"{dataset.name}: cannot be read to its end ({error}); fetch or copy the file again"
        ) from error
    raw = masked.data
    return raw, ~np.ma.getmaskarray(masked).any(0) & np.isfinite(raw).all(0) & (raw != 0).any(0)


def _sample(dataset, indices, path) -> np.ndarray:
    """Valid raw values (pixels, bands) from windows spread evenly over the scene."""
    edges = [min(_SAMPLE_EDGE, size) for size in dataset.shape]
    tops, lefts = (
        np.unique(np.linspace(0, size - edge, _SAMPLE_GRID).astype(int))
        for size, edge in zip(dataset.shape, edges, strict=True)
    )
    parts = []
    for top in tops:
        for left in lefts:
            raw, valid = _read_valid(dataset, indices, Window(left, top, edges[1], edges[0]))
            parts.append(raw[:, valid].T)
    values = np.concatenate(parts)
    if not len(values):
        raise InputError(
            f"{path}: no valid pixel in {len(parts)} windows over the scene (all no-data, NaN or 0); cut it to its data"
        )
    return values


# ---- writing --------------------------------------------------------------------------------------------------------


def shrunk(height: int, width: int, edge: int) -> tuple[int, int]:
    """The size of a picture of the scene that is at most `edge` pixels long."""
    factor = min(1.0, edge / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def prepare_output(output: pathlib.Path, files: Iterable[pathlib.Path]) -> None:
    """Makes the folder of a map and tries to write there. Raises InputError before any work is lost."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(
            f"--output={output}: expected a name that ends in .tif, e.g. --output={output.stem or 'map'}.tif"
        )
    if output.is_dir():
        raise InputError(f"--output={output}: a folder; expected the name of a map, e.g. --output={output / 'map.tif'}")
    if output.resolve() in {file.resolve() for file in files}:
        raise InputError(f"--output={output}: the scene itself; expected a new name for the map")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot write there ({error.strerror}); name a folder that you may write to"
        ) from error


def write_map(
    output: pathlib.Path, scene: Scene, legend: Legend, strips: Iterable[tuple[int, np.ndarray]], tags: dict[str, str]
) -> np.ndarray:
    """Writes a cloud-optimised GeoTIFF with names and colours, and its .aux.xml; returns pixels by id, (256,).

    `strips` gives (first row, ids (rows, width) uint8) from top to bottom. Everything is made in a temporary folder
    beside the map and renamed at the end, so that a map is either whole or not there.
    """
    grid, names = scene.grid, {c.id: c.name for c in legend.scored}
    colours = {i: (*map(int, legend.palette()[i]), 255) for i in names} | {IGNORE: (0, 0, 0, 0)}
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": IGNORE,
        "crs": grid.crs,
        "transform": grid.transform,
    }
    counts = np.zeros(256, np.int64)
    try:
        with tempfile.TemporaryDirectory(prefix=".lcjax-map-", dir=output.parent) as folder:
            plain, cog = pathlib.Path(folder, "plain.tif"), pathlib.Path(folder, "cog.tif")
            with rasterio.open(plain, "w", **profile, width=grid.width, height=grid.height, BIGTIFF="IF_SAFER") as out:
                for first, ids in strips:
                    out.write(ids, 1, window=Window(0, first, grid.width, len(ids)))
                    counts += np.bincount(ids.ravel(), minlength=256)
                out.write_colormap(1, colours)
                out.set_band_description(1, "land cover")
                out.update_tags(**tags, LCJAX_LEGEND=legend.name, LCJAX_CLASSES=json.dumps(names))
                out.update_tags(1, **{f"CLASS_{i}": name for i, name in names.items()})
            rasterio.shutil.copy(
                plain,
                cog,
                driver="COG",
                BLOCKSIZE=512,
                COMPRESS="DEFLATE",
                OVERVIEW_RESAMPLING="MODE",
                BIGTIFF="IF_SAFER",
            )
            sidecar = pathlib.Path(folder, "cog.tif.aux.xml")
            sidecar.write_text(_category_names(names), encoding="utf-8")
            os.replace(sidecar, output.with_name(output.name + ".aux.xml"))
            os.replace(cog, output)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise InputError(
            f"--output={output}: cannot be written ({error}); is the disk full or the folder gone?"
        ) from error
    return counts


def read_map(path: pathlib.Path, edge: int) -> np.ndarray:
    """The ids of a map, at most `edge` pixels long: (h, w) uint8."""
    with rasterio.open(path) as dataset:
        return dataset.read(1, out_shape=shrunk(dataset.height, dataset.width, edge))


def _category_names(names: dict[int, str]) -> str:
    """GDAL's side file (PAM) that names the classes, by position from id 0: a TIFF has no place for them."""
    rows = "".join(f"   <Category>{saxutils.escape(names.get(i, ''))}</Category>\n" for i in range(max(names) + 1))
    band = f' <PAMRasterBand band="1">\n  <CategoryNames>\n{rows}  </CategoryNames>\n </PAMRasterBand>\n'
    return f"<PAMDataset>\n{band}</PAMDataset>\n"
