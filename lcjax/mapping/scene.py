"""Scenes: opens GeoTIFFs, refuses those that do not fit the model card, reads strips of rows.

A network must see what it was trained on. So whatever a file leaves open (band names, the offset of Sentinel-2
products, the unit of radar backscatter) is read from its metadata, asked for, or refused; never guessed silently. The
module `radiometry` decides what the numbers mean.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rasterio
from rasterio.windows import Window

from data_pipelines.geo import fill_values, geodesy, grids, raster_io, resampling
from data_pipelines.geo.exclusions import Exclusion
from data_pipelines.geo.grids import Grid
from data_pipelines.geo.vectors import Features
from data_pipelines.schema.band_selection import band_indices, spelled
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S2, Sensor, to_storage
from lcjax.mapping import scene_area
from lcjax.mapping.radiometry import conversion_of
from lcjax.mapping.scene_area import SceneArea
from lcjax.mapping.scene_files import SceneFiles
from lcjax.runs.model_card import Card

_log = logging.getLogger(__name__)

MIN_SIZE = 16  # pixels of the shorter side: a smaller scene shows nothing of its surroundings
# Bytes of decoded blocks that GDAL keeps. Its default, a share of the machine's memory, is gigabytes on large machines.
# A row of 512 px blocks of a whole Sentinel-2 granule with 13 bands is 146 MB, and several strips read each block.
_CACHE = 512 * 2**20
_SAMPLE_GRID, _SAMPLE_SIZE = 6, 160  # statistics come from at most 6 x 6 windows of 160 x 160 pixels


@dataclasses.dataclass(frozen=True)
class Layer:
    """One sensor's file. The physical value of band k is raw * gain[k] + shift[k].

    Attributes:
      sensor: as the network was trained on it.
      path: of the file.
      dataset: the file, or a view of it that is warped onto another grid.
      indices: the sensor's bands in the file, from 1.
      gain: (bands,) factors.
      shift: (bands,) summands.
      digest: a hash of pixels all over the file.
    """

    sensor: Sensor
    path: pathlib.Path
    dataset: rasterio.DatasetReader
    indices: tuple[int, ...]
    gain: np.ndarray
    shift: np.ndarray
    digest: str

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Reads a window: stored numbers (h, w, bands) of the sensor, and valid pixels (h, w) bool.

        A pixel is valid when no band is masked (no-data value, mask, alpha), NaN or infinite. For sensors whose
        `zero_is_nodata` is set, a pixel that is 0 in every band is not valid either (Sentinel-2's own no-data value,
        and what mosaics are padded with). Pixels that are not valid hold what scales to zero.
        """
        raw, valid = raster_io.read_valid(self.dataset, self.indices, window, self.sensor.zero_is_nodata)
        stored = np.empty((*valid.shape, len(self.indices)), self.sensor.dtype)
        whole = valid.all()
        for k in range(len(self.indices)):  # band by band: the widened copies stay small
            values = raw[k] if whole else np.where(valid, raw[k], 0)
            if self.gain[k] != 1 or self.shift[k] != 0:
                values = values * self.gain[k] + self.shift[k]
            stored[..., k] = to_storage(self.sensor, values)
        if not whole:
            stored[~valid] = self.sensor.empty
        return stored, valid


@dataclasses.dataclass(frozen=True)
class Scene:
    """One or more sensors on one grid.

    Attributes:
      layers: of each sensor.
      files: what GDAL reads for them.
      grid: the dataset whose CRS, transform, width and height the map takes over: a file, and no view of one.
      area: the pixels that are to be mapped; None for all.
    """

    layers: tuple[Layer, ...]
    files: SceneFiles
    grid: rasterio.DatasetReader
    area: SceneArea | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The last sensor's tags, with those of the IMAGERY domain, where GDAL keeps the time of acquisition."""
        dataset = self.layers[-1].dataset
        return dataset.tags() | dataset.tags(ns="IMAGERY")

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what the network will see: pixels all over the scene, its grid, and the meaning of its numbers."""
        grid = (self.grid.crs and self.grid.crs.to_wkt(), *self.grid.transform, *self.grid.shape)
        layers = [(x.digest, x.sensor.name, x.indices, x.gain.tolist(), x.shift.tolist()) for x in self.layers]
        return hashlib.sha256(json.dumps([grid, layers]).encode()).hexdigest()[:16]

    def read(self, first: int, end: int, with_valid: bool = False) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Reads the rows from `first` up to `end`.

        Args:
          first, end: rows.
          with_valid: add for each sensor where it holds data, by `valid_key`: (rows, width, 1) bool.

        Returns:
          {sensor: (rows, width, bands) stored numbers}, and (rows, width) bool: pixels valid in every sensor, and to be
          mapped. Rows that no tile with such a pixel reaches are not read.
        """
        if self.area and not self.area.reached(first, end):
            shape = end - first, self.grid.width
            nowhere = np.zeros(shape, bool)
            sensors = [layer.sensor for layer in self.layers]
            parts = {s.name: (np.full((*shape, len(s.bands)), s.empty), nowhere) for s in sensors}
            return _joined(parts, with_valid), nowhere
        return self.read_part(first, 0, end - first, self.grid.width, with_valid)

    def read_part(
        self, top: int, left: int, height: int, width: int, with_valid: bool = False
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Reads a rectangle of pixels, as `read` does whole rows."""
        window = Window(left, top, width, height)
        parts = {layer.sensor.name: layer.read(window) for layer in self.layers}
        valid = np.logical_and.reduce([valid for _, valid in parts.values()])
        if self.area:
            valid &= self.area.read(window)
        return _joined(parts, with_valid), valid

    def picture(self, height: int, width: int) -> np.ndarray:
        """Returns the last sensor's display bands at this size, stretched to 8 bits: (height, width, 3) uint8."""
        layer = self.layers[-1]
        indices = [layer.indices[layer.sensor.bands.index(band)] for band in layer.sensor.display]
        whole = Window(0, 0, layer.dataset.width, layer.dataset.height)
        raw, valid = raster_io.read_valid(layer.dataset, indices, whole, layer.sensor.zero_is_nodata, (height, width))
        values = np.moveaxis(np.where(valid, raw.astype(np.float64), np.nan), 0, -1)
        low, high = np.nanpercentile(values, (2, 98), axis=(0, 1))
        grey = np.nan_to_num((values - low) / np.maximum(high - low, 1e-9), nan=1.0).clip(0, 1)
        grey = grey**0.7  # else a bright beach leaves the forest black
        return np.broadcast_to(np.rint(255 * grey).astype(np.uint8), (height, width, 3))


def valid_key(sensor: str) -> str:
    """The key of where a sensor holds data, in what `Scene.read` gives."""
    return f"{sensor} is valid"


def _joined(parts: Mapping[str, tuple[np.ndarray, np.ndarray]], with_valid: bool) -> dict[str, np.ndarray]:
    stored = {name: numbers for name, (numbers, _) in parts.items()}
    return stored | ({valid_key(name): valid[..., None] for name, (_, valid) in parts.items()} if with_valid else {})


@contextlib.contextmanager
def open_scene(
    card: Card,
    files: dict[str, pathlib.Path],
    *,
    bands: Mapping[str, Sequence[str]] | None = None,
    offset: float | None = None,
    grid: str = "",
    aoi: Features | None = None,
    mask: Exclusion | None = None,
) -> Iterator[Scene]:
    """Opens the files of a scene as the card's sensors, for the time of the context.

    Args:
      card: names the sensors, their bands and ground sampling, and the tile.
      files: sensor name -> GeoTIFF, one for each sensor of the card.
      bands: sensor name -> its file's band names in file order, for files that name none.
      offset: number added to the digital numbers of Sentinel-2; None takes it from the metadata.
      grid: name of the sensor onto whose grid the others are warped; "" expects that all have one grid.
      aoi: polygons outside which nothing is mapped.
      mask: what is not to be mapped.

    Yields:
      The scene.

    Raises:
      scene_area.Outside: nothing of the scene lies in the area of interest.
      InputError: a file, a band, a unit, the grid, the offset, the area or the mask does not fit.
    """
    _check_options(card, files, offset, grid)
    with contextlib.ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE))
        rasters = [*(files[sensor.name] for sensor in card.sensors), *([mask.path] if mask else [])]
        scene_files = SceneFiles.of(rasters)  # before anything is read of them
        layers = []
        for sensor in card.sensors:
            path = files[sensor.name]
            dataset = stack.enter_context(_open(path, sensor))
            if grid in ("", sensor.name):
                _check_ground_sampling(dataset, sensor, path, card)
            image_bands = raster_io.image_bands(dataset)
            names = _band_names(dataset, sensor, path, (bands or {}).get(sensor.name, ()), card)
            indices = tuple(image_bands[index] for index in band_indices(sensor, names, str(path)))
            sample = _sample(dataset, indices, sensor, path)
            gain, shift = conversion_of(sensor)(sensor, dataset, indices, sample, path, offset)
            if fill := fill_values.fill_share(sample):
                _log.warning("%s: %s", path, fill_values.warning(*fill))
            digest = hashlib.sha256(sample.tobytes()).hexdigest()
            layers.append(Layer(sensor, path, dataset, indices, gain, shift, digest))
        target = next((layer for layer in layers if layer.sensor.name == grid), layers[0])
        if grid:
            _warn_of_size(layers, target)
            layers = [_warped(layer, target, stack) for layer in layers]
        else:
            _check_same_grid(layers)
        height, width = target.dataset.shape
        if min(height, width) < card.tile:
            _log.info(
                "%s: %d x %d pixels, smaller than a tile of %d; mapped as one piece",
                *(target.path, width, height, card.tile),
            )
        area = None
        if aoi or mask:
            area = stack.enter_context(scene_area.opened(Grid.of(target.dataset), target.path, card.tile, aoi, mask))
        yield Scene(tuple(layers), scene_files, target.dataset, area)


# ---- opening and checking -------------------------------------------------------------------------------------------


def has_offset(card: Card) -> bool:
    """Whether a network takes Sentinel-2, whose numbers may have an offset, and not own imagery of that name."""
    return any(sensor.is_published and sensor.name == S2.name for sensor in card.sensors)


def _check_options(card: Card, files: dict[str, pathlib.Path], offset: float | None, grid: str) -> None:
    names = {sensor.name for sensor in card.sensors}
    if set(files) != names:
        raise InputError(
            f"--scene: files for {', '.join(files) or 'no sensor'}, but the network takes {', '.join(sorted(names))}; "
            f"give --scene={','.join(f'{name}=FILE' for name in sorted(names))}"
        )
    if offset is not None and not has_offset(card):
        raise InputError(
            f"--offset={offset:g}: only for Sentinel-2, but the network takes {', '.join(names)}; leave it out"
        )
    if grid and (grid not in names or len(names) == 1):
        raise InputError(f"--grid={grid}: expected one of several sensors, but the network takes {', '.join(names)}")


@contextlib.contextmanager
def _open(path: pathlib.Path, sensor: Sensor) -> Iterator[rasterio.DatasetReader]:
    with raster_io.opened(path) as dataset:
        raster_io.check_place(dataset)
        raster_io.check_image(dataset, _windows(dataset))
        # If the training imagery was not georeferenced, scenes need not be either.
        if sensor.ground_sampling is not None:
            _check_place(dataset, path)
        elif raster_io.crs_of(dataset) is None:
            _log.info("%s: no CRS or no transform from pixels to coordinates: the map will lie nowhere", path)
        if min(dataset.shape) < MIN_SIZE:
            raise InputError(
                f"{path}: {dataset.width} x {dataset.height} pixels; expected at least {MIN_SIZE} x {MIN_SIZE}; take a "
                "larger cut"
            )
        yield dataset


def _check_place(dataset: rasterio.DatasetReader, path: pathlib.Path) -> None:
    for missing, absent, example in (
        ("coordinate reference system (CRS)", dataset.crs is None, "--crs EPSG:32633"),
        (
            "transform from pixels to coordinates",
            dataset.transform.is_identity,
            "--transform '[10, 0, LEFT, 0, -10, TOP]'",
        ),
    ):
        if absent:
            raise InputError(
                f"{path}: no {missing}, so the map would lie nowhere; expected a georeferenced scene; "
                f"if you know it, write it in, e.g. `rio edit-info {example} {path.name}`"
            )


def _check_ground_sampling(dataset: rasterio.DatasetReader, sensor: Sensor, path: pathlib.Path, card: Card) -> None:
    expected = sensor.ground_sampling
    if expected is None:
        return
    try:
        actual = geodesy.metres_per_pixel(dataset.crs, dataset.transform, *dataset.shape)
    except ValueError as error:
        raise InputError(
            f"{path}: {error}; expected a map projection or longitude and latitude; if the file only lacks its name, "
            f"write it in, e.g. for FLAIR-1 `rio edit-info --crs EPSG:2154 {path.name}`; else warp it, e.g. "
            "`rio warp --dst-crs EPSG:32633`"
        ) from error
    if any(not 1 / 1.5 <= metres / expected <= 1.5 for metres in actual):
        advised = f"resample it first, e.g. `gdalwarp -tr {expected:.3g} {expected:.3g} -r bilinear` in a CRS of metres"
        if sensor is not card.sensors[0]:  # onto whose pixels preparation brings those of other sensors
            first = card.sensors[0].name
            advised = f"have it warped onto the grid of {first} with --grid={first}"
        raise InputError(
            f"{path}: pixels of {actual[0]:.3g} x {actual[1]:.3g} m, but the network knows {sensor.name} at "
            f"{expected:.3g} m; {advised}"
        )


def _band_names(dataset, sensor, path, listed: Sequence[str], card: Card) -> list[str | None]:
    """Returns the names of the file's bands without alpha, in order: those of --bands, else those of the file."""
    image_bands = raster_io.image_bands(dataset)
    count = len(image_bands)
    # Colour interpretations name bands of own imagery only: a published sensor's bands are not just red, green, blue.
    described = [dataset.descriptions[index - 1] for index in image_bands]
    names = described if sensor.is_published else [*raster_io.band_names(dataset)]
    own = [next(filter(None, (spelled(other, name) for other in (sensor, *card.sensors))), None) for name in names]
    if listed:
        if len(listed) != count:
            raise InputError(
                f"{path}: {count} bands, but --bands lists {len(listed)} for it ({', '.join(listed)}); "
                "list every band of the file in its order"
            )
        known = [(a, b) for a, b in zip(own, listed, strict=True) if a]
        if any(a != b for a, b in known):
            _log.info(
                "%s: the file names its bands %s; --bands has been followed instead", path, ", ".join(map(str, own))
            )
        return list(listed)
    if not any(name in sensor.bands for name in own):
        everything = ",".join(s.name for s in card.sensors)
        if count != len(sensor.bands):
            raise InputError(
                f"{path}: {count} bands without known names; expected the {len(sensor.bands)} of {sensor.name} "
                f"({', '.join(sensor.bands)}); list the file's bands in their order with --bands=NAME,NAME,..."
            )
        raise InputError(
            f"{path}: {count} bands without known names; expected {', '.join(sensor.bands)}; if they stand in "
            f"that order add --bands={everything}, else list their names in file order with --bands"
        )
    return names


def _warped(layer: Layer, target: Layer, stack: contextlib.ExitStack) -> Layer:
    """Returns the layer on the grid of another one."""
    source, grid = layer.dataset, target.dataset
    if (source.crs, source.transform, source.shape) == (grid.crs, grid.transform, grid.shape):
        return layer
    if raster_io.crs_of(source) is None or raster_io.crs_of(grid) is None:
        if found := grids.other_pixels(Grid.of(source), Grid.of(grid), str(target.path)):
            raise InputError(
                f"{layer.path}: {found}; expected the same ground, for without a place it cannot be warped"
            )
        view = stack.enter_context(resampling.resampled(source, *grid.shape))
    else:
        view = stack.enter_context(resampling.warped(source, Grid.of(grid)))
    _log.info("%s: warped onto the grid of %s (bilinear)", layer.path, target.path)
    _sample(view, layer.indices, layer.sensor, layer.path)  # refuses a file that covers another place
    return dataclasses.replace(layer, dataset=view)


def _warn_of_size(layers: Sequence[Layer], target: Layer) -> None:
    """Warns where pixels are brought to another size, and no file tells whether the network learned from that."""
    first = layers[0]  # whose pixels preparation keeps, of own imagery
    sized = [layer for layer in (first, target) if layer.sensor.ground_sampling is None]
    if len(sized) == 2 and first.dataset.shape != target.dataset.shape:
        _log.warning(
            "%s: the map gets its %d x %d pixels, and nothing tells whether the network learned from pixels of that "
            "size; most likely from those of %s: --grid=%s",
            *(target.path, *target.dataset.shape[::-1], first.sensor.name, first.sensor.name),
        )


def _check_same_grid(layers: Sequence[Layer]) -> None:
    first = layers[0]
    for other in layers[1:]:
        if found := grids.difference(Grid.of(other.dataset), Grid.of(first.dataset), str(first.path)):
            advised = other.sensor if other.sensor.is_published else first.sensor
            raise InputError(
                f"{other.path}: {found}; have the sensors warped onto the grid of one of them, e.g. with "
                f"--grid={advised.name}"
            )


def _windows(dataset) -> list[Window]:
    """Returns windows spread evenly over the scene."""
    height, width = (min(_SAMPLE_SIZE, size) for size in dataset.shape)
    tops, lefts = (
        np.unique(np.linspace(0, whole - size, _SAMPLE_GRID).astype(int))
        for whole, size in zip(dataset.shape, (height, width), strict=True)
    )
    return [Window(left, top, width, height) for top in tops for left in lefts]


def _sample(dataset, indices, sensor: Sensor, path) -> np.ndarray:
    """Returns valid raw values (pixels, bands) from windows spread evenly over the scene."""
    parts = []
    for window in _windows(dataset):
        raw, valid = raster_io.read_valid(dataset, indices, window, sensor.zero_is_nodata)
        parts.append(raw[:, valid].T)
    values = np.concatenate(parts)
    if not len(values):
        raise InputError(
            f"{path}: no valid pixel in {len(parts)} windows over the scene (all no-data, NaN or 0); "
            "cut it to its data, and see that all sensors cover the same ground"
        )
    return values
