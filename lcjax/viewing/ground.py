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

from data_pipelines.geo import geodesy, grids, packing, raster_io, resampling
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.spec import Refused
from lcjax.assessment import chips, layers
from lcjax.mapping import areas, map_writer
from lcjax.ops.reliability import PROBABILITY_SCALE
from lcjax.reporting import map_reader
from lcjax.viewing import overlap

_log = logging.getLogger(__name__)

TILE = 256  # pixels along each side of a tile
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
    def grid(self) -> Grid:
        """Where the pixels of the map lie."""
        return Grid(self.crs, self.transform, self.height, self.width)

    @property
    def strange(self) -> int:
        """A number that stands for all that the legend does not name; that of no data where it names all of a byte."""
        taken = {one.value for one in self.legend.classes} | {self.legend.nodata}
        return max(set(range(256)) - taken, default=self.legend.nodata)

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
    found = {"map": _classes_in(path, "map", crs)}
    if confidence := _confidence(path, Grid(crs, transform, *shape)):
        found["confidence"] = confidence
    if scene:
        with chips.opened([scene], bands) as (image,):
            names = tuple(image.dataset.descriptions[band - 1] or f"band {band}" for band in image.bands)
            shown = image.bands[: 1 if len(set(image.bands)) == 1 else 3]
            cut = slice(0, len(shown))
            found["scene"] = Layer("image", Pool(scene), shown, names[cut], image.crs, image.low[cut], image.high[cut])
    if truth:
        found["truth"] = _classes_in(truth, "truth", crs)
    ground = Ground(path, known, _areas(path), crs, transform, *shape, found)
    for name in found.keys() & {"scene", "truth"}:
        _check_place(ground, name)
    for layer in found.values():
        _warn_of_numbers(ground, layer)
        _warn_of_slowness(layer.pool)
    return ground


def _classes_in(path: pathlib.Path, name: str, crs: CRS | None) -> Layer:
    """A raster of classes. Raises InputError where it is none, or lies nowhere though the map lies somewhere."""
    if not path.is_file():
        raise InputError(
            f"--{name}={path}: {'a folder' if path.is_dir() else 'no such file'}; expected a raster of one band"
        )
    try:
        with raster_io.opened(path) as dataset:
            raster_io.check_place(dataset)
            bands, own = raster_io.image_bands(dataset), raster_io.crs_of(dataset)
            kind = np.dtype(dataset.dtypes[bands[0] - 1])
    except Refused as refusal:
        raise InputError(f"--{name}={path}: {refusal.reason}") from refusal
    if len(bands) != 1:
        raise InputError(f"--{name}={path}: {len(bands)} bands; expected one band of whole numbers")
    if kind.kind not in "iu":
        raise InputError(f"--{name}={path}: one band of {kind}; expected whole numbers, those of the map's classes")
    if crs is not None and own is None:
        raise InputError(
            f"--{name}={path}: has no place (CRS and transform); expected a raster of the map's ground; write it in "
            f"with `rio edit-info --crs EPSG:... --transform ... {path.name}`"
        )
    return Layer("classes", Pool(path), bands, (name,), own)


def _confidence(path: pathlib.Path, grid: Grid) -> Layer | None:
    """The confidence beside a map, on its grid; None where there is none, or, with a line, where it is of others.

    Nobody named that file: what another program calls so may hold percent, or lie elsewhere.
    """
    beside = map_writer.Product("confidence", (), 1).path(path)
    if not beside.is_file():
        return None
    try:
        with raster_io.opened(beside) as dataset:
            bands, own = raster_io.image_bands(dataset), raster_io.crs_of(dataset)
            found = _no_confidence(beside, dataset, bands) or grids.difference(Grid.of(dataset), grid, path.name)
    except Refused as refusal:
        found = refusal.reason
    if not found and (own is None) != (grid.crs is None):
        found = f"{path.name if own else 'it'} has no place (CRS and transform)"
    if found:
        _log.warning(f"no confidence: {beside}: {found}; expected the one that `lcjax predict --confidence` writes")
        return None
    return Layer("share", Pool(beside), bands, ("confidence",), own)


def _no_confidence(path: pathlib.Path, dataset: Any, bands: tuple[int, ...]) -> str:
    """What a raster holds in place of shares from 0 to 1, as a phrase; empty where it holds these."""
    if len(bands) != 1:
        return f"{len(bands)} bands"
    if (kind := dataset.dtypes[bands[0] - 1]) != "uint8":
        return f"one band of {kind}"
    stated = packing.stated(path, dataset, bands)
    return "" if np.allclose(stated or 1, [[1 / PROBABILITY_SCALE, 0]], atol=0) else packing.told(stated)


def _check_place(ground: Ground, name: str) -> None:
    """Raises InputError where a layer has no pixel on the ground of the map."""
    layer = ground.layers[name]
    with layer.pool.dataset() as dataset:
        other = Grid(layer.crs, dataset.transform, dataset.height, dataset.width)
    if not other.is_sound:
        raise InputError(f"--{name}={layer.pool.path}: its transform gives pixels no area; write it anew")
    share = overlap.share(ground.grid, other)
    if share is None:
        raise InputError(f"--{name}={layer.pool.path}: lies elsewhere than {ground.path}; expected the same ground")
    if share < 1:
        told = f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
        _log.info(f"{layer.pool.path}: covers {told} of the map")


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
    shown = areas.decimals(sum(row.hectares or 0 for row in read.rows))
    return {
        row.id: f"{row.percent or 0:.1f} %" + ("" if row.hectares is None else f", {row.hectares:,.{shown}f} ha")
        for row in read.rows
    }


def _warn_of_numbers(ground: Ground, layer: Layer) -> None:
    with layer.pool.dataset() as dataset:
        kind = dataset.dtypes[layer.bands[0] - 1]
    if layer.kind == "classes" and kind != "uint8" and ground.strange == ground.legend.nodata:
        _log.warning(
            f"{layer.pool.path}: the legend names all numbers of a byte, so that any other number is shown as no data"
        )


def _warn_of_slowness(pool: Pool) -> None:
    with pool.dataset() as dataset:
        if max(dataset.shape) > _SLOW and not dataset.overviews(1):
            _log.warning(
                f"{pool.path}: has no overviews, so that all of it is read to show all of it; `gdal_translate -of COG "
                f"{pool.path.name} faster.tif` makes some"
            )
