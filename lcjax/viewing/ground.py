"""What a page shows of a ground: a map, and what lies beside it; opened and checked before anything is served."""

import contextlib
import dataclasses
import logging
import math
import pathlib
import queue
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geodesy, raster_io, resampling
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.spec import Refused
from lcjax.assessment import chips, layers
from lcjax.mapping import map_writer
from lcjax.ops.reliability import PROBABILITY_SCALE
from lcjax.reporting import map_reader

_log = logging.getLogger(__name__)

TILE = 256  # pixels along each side of a tile
_PROBES = 33  # places along each side of the map where it is looked whether another raster lies there
_SLOW = 4096  # pixels along a side from which on a raster without overviews is slow to look at


class Pool:
    """A raster that threads read together: each takes one that is open, and puts it back."""

    def __init__(self, path: pathlib.Path):
        """Opens nothing yet."""
        self.path = path
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()

    @contextlib.contextmanager
    def dataset(self) -> Iterator[Any]:
        """An open dataset, for the time of the context. Raises Refused where the file cannot be read."""
        try:
            dataset = self._idle.get_nowait()
        except queue.Empty:
            dataset = raster_io.opened(self.path)
        try:
            yield dataset
        except BaseException:
            dataset.close()  # after an error it may have changed
            raise
        self._idle.put(dataset)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A raster that lies on the ground of the map.

    Attributes:
      kind: "classes", "share" or "image".
      pool: of the file.
      bands: that are shown, from 1.
      names: of these bands.
      crs: it lies in; None where the map lies nowhere.
      low, high: (bands,) of an image, what is shown black and white.
    """

    kind: str
    pool: Pool
    bands: tuple[int, ...]
    names: tuple[str, ...]
    crs: CRS | None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Ground:
    """The ground of a map, and what lies on it.

    Attributes:
      path: of the map.
      legend: of the map.
      areas: by number of the class, what is known of its area, in words.
      crs: of the map; None where it lies nowhere.
      transform: from (column, row) to the CRS.
      height, width: of the map, in pixels.
      layers: by name: "map", and "confidence", "scene", "truth" where they are there.
    """

    path: pathlib.Path
    legend: Legend
    areas: dict[int, str]
    crs: CRS | None
    transform: Affine
    height: int
    width: int
    layers: dict[str, Layer]

    @property
    def levels(self) -> int:
        """Number of levels of tiles: at level n a pixel of a tile stands for 2**n x 2**n of the map."""
        return max(0, math.ceil(math.log2(max(self.height, self.width) / TILE))) + 1

    @property
    def strange(self) -> int:
        """A number that stands for all that the legend does not name."""
        taken = {one.value for one in self.legend.classes} | {self.legend.nodata}
        return next(number for number in range(255, -1, -1) if number not in taken)

    def tile_shape(self, level: int, column: int, row: int) -> tuple[int, int]:
        """Returns height and width of a tile; 0 where there is none."""
        step = 2**level
        high, wide = (-(-side // step) - TILE * place for side, place in ((self.height, row), (self.width, column)))
        return min(max(high, 0), TILE), min(max(wide, 0), TILE)

    def tile(self, name: str, level: int, column: int, row: int) -> bytes:
        """Returns the pixels of a tile that is there.

        Args:
          name: of the layer.
          level, column, row: of the tile.

        Returns:
          Of an image red, green, blue and alpha of each pixel, else its number: of classes that of the legend's
          `value`, `nodata` or `strange`; of shares 0 to 250 for 0 to 1, and 255.

        Raises:
          Refused: the file cannot be read to its end.
        """
        layer, step = self.layers[name], 2**level
        height, width = self.tile_shape(level, column, row)
        columns = step * (TILE * column + np.arange(width)[None, :] + 0.5)
        rows = step * (TILE * row + np.arange(height)[:, None] + 0.5)
        values, valid = self._read(layer, columns.clip(0, self.width - 0.5), rows.clip(0, self.height - 0.5))
        if layer.kind == "image":
            return _shown(layer, values, valid).tobytes()
        if layer.kind == "share":
            return np.where(valid, values[0], 255).astype(np.uint8).tobytes()
        return self._classes(values[0], valid).tobytes()

    def values(self, column: int, row: int) -> dict[str, Any]:
        """Returns what the layers hold at a pixel of the map, in full resolution.

        Args:
          column, row: of the pixel.

        Returns:
          Name of each layer that has data there -> the class's number, the share, or the numbers of the image by band.

        Raises:
          Refused: a file cannot be read to its end.
        """
        found: dict[str, Any] = {}
        for name, layer in self.layers.items():
            values, valid = self._read(layer, np.array([[column + 0.5]]), np.array([[row + 0.5]]))
            if not valid[0, 0]:
                continue
            if layer.kind == "image":
                numbers = dict(zip(layer.names, values[:, 0, 0].tolist(), strict=True))
                found[name] = {band: one for band, one in numbers.items() if math.isfinite(one)}
            elif layer.kind == "share":
                found[name] = float(values[0, 0, 0]) / PROBABILITY_SCALE
            else:
                found[name] = int(self._classes(values[0], valid)[0, 0])
        return found

    def place(self, column: float, row: float) -> tuple[float, float] | None:
        """Returns longitude and latitude of a place of the map in degrees; None where it lies nowhere."""
        if self.crs is None or not geodesy.is_earthly(self.crs):
            return None
        x, y = geodesy.positions(self.transform, np.array([column]), np.array([row]))
        longitude, latitude = geodesy.lonlat(self.crs, x, y)
        found = float(longitude[0]), float(latitude[0])
        return found if all(map(math.isfinite, found)) else None

    def _read(self, layer: Layer, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = geodesy.positions(self.transform, columns, rows)
        if self.crs is not None and layer.crs is not None and layer.crs != self.crs:
            x, y = geodesy.transformed(self.crs, layer.crs, x, y)
        with layer.pool.dataset() as dataset:
            return resampling.at_places(dataset, layer.bands, x, y, TILE, zero_is_nodata=layer.kind == "image")

    def _classes(self, raw: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Numbers of the legend of what a raster holds."""
        read_as = np.full(256, self.strange, np.uint8)
        for one in self.legend.classes:
            read_as[one.value] = one.value
        read_as[self.legend.nodata] = self.legend.nodata
        is_byte = (raw >= 0) & (raw <= 255)
        ids = np.where(is_byte, read_as[np.where(is_byte, raw, 0).astype(np.uint8)], self.strange)
        return np.where(valid, ids, self.legend.nodata).astype(np.uint8)


def _shown(layer: Layer, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """An image as people see it: (h, w, 4) uint8."""
    assert layer.low is not None and layer.high is not None
    drawn = np.empty((*valid.shape, 4), np.uint8)
    grey = (np.moveaxis(values, 0, -1).astype(np.float64) - layer.low) / (layer.high - layer.low)
    drawn[..., :3] = np.rint(255 * np.nan_to_num(grey).clip(0, 1))
    drawn[..., 3] = np.where(valid, 255, 0)
    return drawn


def opened(
    path: pathlib.Path,
    scene: pathlib.Path | None = None,
    truth: pathlib.Path | None = None,
    legend: pathlib.Path | None = None,
    bands: Sequence[str] = (),
) -> Ground:
    """Opens a map and what is to be shown with it, and looks whether they lie on one ground.

    Args:
      path: of the map.
      scene: image of its ground.
      truth: raster of labels, numbered as the map is.
      legend: CSV with id, name and colour, for a map that has no legend of its own.
      bands: names of the one or three bands of the scene that are shown.

    Raises:
      InputError: a file cannot be read, is none of that, or lies elsewhere.
    """
    with layers.opened(path, legend) as land_map:
        crs, transform, shape = land_map.crs, land_map.transform, (land_map.height, land_map.width)
        known = land_map.legend
    for flag, other in (("scene", scene), ("truth", truth)):
        if other and crs is None:
            raise InputError(
                f"--map={path}: has no place (CRS and transform), by which --{flag} could be laid on it; expected one, "
                f"or the map alone"
            )
    found = {"map": _raster(path, "map", crs, "classes")}
    beside = map_writer.Product("confidence", (), 1).path(path)
    if beside.is_file():
        found["confidence"] = _raster(beside, "confidence", crs, "share")
    if scene:
        with chips.opened([scene], bands) as (image,):
            names = tuple(image.dataset.descriptions[band - 1] or f"band {band}" for band in image.bands)
            shown = image.bands[: 1 if len(set(image.bands)) == 1 else 3]
            cut = slice(0, len(shown))
            found["scene"] = Layer("image", Pool(scene), shown, names[cut], image.crs, image.low[cut], image.high[cut])
    if truth:
        found["truth"] = _raster(truth, "truth", crs, "classes")
    ground = Ground(path, known, _areas(path), crs, transform, *shape, found)
    for name in found.keys() - {"map"}:
        _check_place(ground, name)
    for layer in found.values():
        _warn_of_slowness(layer.pool)
    return ground


def _raster(path: pathlib.Path, name: str, crs: CRS | None, kind: str) -> Layer:
    """A raster of one band. Raises InputError where it is none, or lies nowhere though the map lies somewhere."""
    if not path.is_file():
        raise InputError(
            f"--{name}={path}: {'a folder' if path.is_dir() else 'no such file'}; expected a raster of one band"
        )
    try:
        with raster_io.opened(path) as dataset:
            raster_io.check_place(dataset)
            bands, own = raster_io.image_bands(dataset), raster_io.crs_of(dataset)
            whole = np.dtype(dataset.dtypes[bands[0] - 1]).kind in "iu"
    except Refused as refusal:
        raise InputError(f"--{name}={path}: {refusal.reason}") from refusal
    if len(bands) != 1 or not whole:
        raise InputError(f"--{name}={path}: {len(bands)} bands; expected one band of whole numbers")
    if crs is not None and own is None:
        raise InputError(
            f"--{name}={path}: has no place (CRS and transform); expected a raster of the map's ground; write it in "
            f"with `rio edit-info --crs EPSG:... --transform ... {path.name}`"
        )
    return Layer(kind, Pool(path), bands, (name,), own)


def _check_place(ground: Ground, name: str) -> None:
    """Raises InputError where a layer has no pixel on the ground of the map."""
    layer = ground.layers[name]
    columns = np.linspace(0.5, ground.width - 0.5, min(_PROBES, ground.width))[None, :]
    rows = np.linspace(0.5, ground.height - 0.5, min(_PROBES, ground.height))[:, None]
    x, y = geodesy.positions(ground.transform, columns, rows)
    if ground.crs is not None and layer.crs is not None:
        x, y = geodesy.transformed(ground.crs, layer.crs, x, y)
    with layer.pool.dataset() as dataset:
        across, down = geodesy.positions(~dataset.transform, x, y)
        inside = (across >= 0) & (across < dataset.width) & (down >= 0) & (down < dataset.height)
    if not inside.any():
        raise InputError(f"--{name}={layer.pool.path}: lies elsewhere than {ground.path}; expected the same ground")
    if not inside.all():
        _log.info(f"{layer.pool.path}: covers {100 * inside.mean():.0f} % of the map")


def _areas(path: pathlib.Path) -> dict[int, str]:
    """What MAP.areas.csv tells, in words by class; empty, with a line that says why, where there is none."""
    table = path.with_suffix(".areas.csv")
    if not table.is_file():
        _log.info(f"no areas: there is no {table}, which `lcjax predict` writes")
        return {}
    try:
        (read,) = map_reader.read([path])
    except InputError as error:
        _log.warning(f"no areas: {error}")
        return {}
    return {
        row.id: f"{row.percent or 0:.1f} %" + ("" if row.hectares is None else f", {row.hectares:,.1f} ha")
        for row in read.rows
    }


def _warn_of_slowness(pool: Pool) -> None:
    with pool.dataset() as dataset:
        if max(dataset.shape) > _SLOW and not dataset.overviews(1):
            _log.warning(
                f"{pool.path}: has no overviews, so that all of it is read to show all of it; `gdal_translate -of COG "
                f"{pool.path.name} faster.tif` makes some"
            )
