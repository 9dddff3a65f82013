"""Writes maps: finished rows are kept on disk, so that a stopped map can be resumed, then turned into GeoTIFFs."""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises for errors of GDAL; has no public name
from rasterio.windows import Window

from data_pipelines.geo import raster_io
from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.spec import Refused

PROBABILITY_SCALE = 250  # a probability p is stored as round(250 p), so that 255 is free for no data
COMPRESSIONS = ("deflate", "lzw")
ERRORS = (OSError, rasterio.errors.RasterioError, CPLE_BaseError, Refused)  # that writing may raise
_BLOCK = 512  # rows and columns of a block of the GeoTIFFs
_PLAN, _PLAN_TAG = "plan.json", "LCJAX_PLAN"
_PLAN_VERSION = 1  # schema_version of plan.json


@dataclasses.dataclass(frozen=True)
class Product:
    """One GeoTIFF of a map.

    Attributes:
      kind: "classes" (ids of the legend), "confidence" (probability of the mapped class) or "probabilities".
      suffix: end of the file's name, before ".tif".
      bands: description of each band.
    """

    kind: str
    suffix: str
    bands: tuple[str, ...]

    def path(self, output: pathlib.Path) -> pathlib.Path:
        """Returns the path of this product of the map `output`."""
        return output.with_name(output.stem + self.suffix + output.suffix)


def products(legend: Legend, *, confidence: bool = False, probabilities: bool = False) -> tuple[Product, ...]:
    """Returns the GeoTIFFs of a map, the classes first."""
    names = tuple(land_class.name for land_class in legend.scored)
    wanted = {
        Product("classes", "", ("land cover",)): True,
        Product("confidence", "_confidence", ("probability of the mapped class",)): confidence,
        Product("probabilities", "_probabilities", tuple(f"probability of {name}" for name in names)): probabilities,
    }
    return tuple(product for product, is_wanted in wanted.items() if is_wanted)


def summary(legend: Legend, wanted: Sequence[Product]) -> Callable[[jax.Array], jax.Array]:
    """Makes the traceable function from probabilities to the bands of all products.

    Args:
      legend: gives the class ids.
      wanted: the products.

    Returns:
      A function (classes, rows, width) float32 -> (rows, bands, width) uint8.
    """
    ids = legend.id_of_index()
    kinds = [product.kind for product in wanted]

    def layers(probabilities_KxHxW: jax.Array) -> jax.Array:
        best = jnp.argmax(probabilities_KxHxW, axis=0)
        scaled = jnp.rint(probabilities_KxHxW * PROBABILITY_SCALE).clip(0, PROBABILITY_SCALE).astype(jnp.uint8)
        bands_of = {
            "classes": lambda: jnp.asarray(ids)[best][None],
            "confidence": lambda: scaled.max(0)[None],
            "probabilities": lambda: scaled,
        }
        return jnp.moveaxis(jnp.concatenate([bands_of[kind]() for kind in kinds]), 0, 1)

    return layers


# ---- drafts: maps that are not finished ------------------------------------------------------------------------------


def digest(plan: dict) -> str:
    """Returns a short hash of a plan: what is mapped, by which network and how."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def is_finished(output: pathlib.Path, plan: dict) -> bool:
    """Whether `output` is the finished map of this plan."""
    if not output.is_file():
        return False
    try:
        with raster_io.opened(output) as dataset:
            return dataset.tags().get(_PLAN_TAG) == digest(plan)
    except Refused:
        return False


def draft_folder(output: pathlib.Path) -> pathlib.Path:
    """Returns the folder of an unfinished map: .MAP.tif.draft beside it."""
    return output.with_name(f".{output.name}.draft")


def remove_draft(output: pathlib.Path) -> None:
    """Removes the draft of a finished map, which a kill may have left at the last moment."""
    shutil.rmtree(draft_folder(output), ignore_errors=True)


class Draft:
    """An unfinished map and the rows that are done.

    Attributes:
      output: the map.
      folder: holds the files that `publish` moves to their place.
      done: number of rows that need not be computed again.
      continued: whether an earlier run left rows.
    """

    def __init__(self, output: pathlib.Path, plan: dict, *, width: int, layers: int, boundaries: Iterable[int]):
        """Begins a draft, or resumes the existing one if it has the same plan.

        Args:
          output: the map.
          plan: what is mapped, by which network and how; JSON.
          width: pixels in a row.
          layers: bands of all products together.
          boundaries: rows at which the map can be resumed.
        """
        self.output, self.folder = output, draft_folder(output)
        self._shape = (layers, width)
        stamped = schema_version.stamp(plan | {"layers": layers, "width": width}, _PLAN_VERSION)
        text, file = json.dumps(stamped, sort_keys=True, indent=1), self.folder / _PLAN
        if not (file.is_file() and file.read_text() == text):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_atomically(file, text)
        self._file = (self.folder / "rows").open("ab")
        rows = self._file.tell() // (layers * width)
        self.done = max((row for row in boundaries if row <= rows), default=0)
        self.continued = self.done > 0
        self._file.truncate(self.done * layers * width)

    def append(self, rows: np.ndarray) -> None:
        """Appends finished rows (rows, layers, width) uint8."""
        self._file.write(np.ascontiguousarray(rows).data)
        self._file.flush()
        os.fsync(self._file.fileno())  # otherwise a power cut could leave the length without the rows
        self.done += len(rows)

    def read(self, first: int, end: int) -> np.ndarray:
        """Reads finished rows from `first` up to `end`: (rows, layers, width) uint8."""
        layers, width = self._shape
        return np.fromfile(
            self.folder / "rows", np.uint8, (end - first) * layers * width, offset=first * layers * width
        ).reshape(-1, layers, width)

    def publish(self) -> None:
        """Moves every product out of the folder, the map last, and removes the folder."""
        others = (_PLAN, "rows", self.output.name)
        sidecars = [path for path in sorted(self.folder.iterdir()) if path.name not in others]
        for path in [*sidecars, self.folder / self.output.name]:
            os.replace(path, self.output.with_name(path.name))
        shutil.rmtree(self.folder)

    def __enter__(self) -> "Draft":
        """Returns itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the file of rows."""
        self._file.close()


def check_output(output: pathlib.Path, files: Iterable[pathlib.Path]) -> None:
    """Makes the folder of a map and tries to write there, before any work is lost.

    Args:
      output: the map.
      files: of the scene.

    Raises:
      InputError: the name does not fit, or nothing can be written there.
    """
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


def check_room(output: pathlib.Path, height: int, width: int, wanted: Sequence[Product]) -> None:
    """Checks that the disk has room for the rows and for the largest GeoTIFF before compression.

    Raises:
      InputError: there is too little room.
    """
    bands = [len(product.bands) for product in wanted]
    needed, free = (sum(bands) + max(bands)) * height * width, shutil.disk_usage(output.parent).free
    if needed > free:
        raise InputError(
            f"--output={output}: {free / 1e6:,.0f} MB are free there, but a map of {width} x {height} pixels with "
            f"{sum(bands)} bands needs up to {needed / 1e6:,.0f} MB while it is made; make room, or name another disk"
        )


# ---- GeoTIFFs -------------------------------------------------------------------------------------------------------


def write_products(
    draft: Draft, wanted: Sequence[Product], grid, legend: Legend, tags: dict[str, str], plan: dict, compress: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Writes the cloud-optimised GeoTIFFs of a draft into its folder.

    Args:
      draft: with all its rows.
      wanted: the products.
      grid: an open rasterio dataset with the CRS, transform, width and height of the map.
      legend: names and colours of the class ids.
      tags: of the files.
      plan: of the draft.
      compress: one of `COMPRESSIONS`.

    Yields:
      (first row, class ids (rows, width) uint8) of the map from top to bottom, as they are written.
    """
    place = {"crs": raster_io.crs_of(grid), "transform": grid.transform, "width": grid.width, "height": grid.height}
    first = 0
    for product in wanted:
        count = len(product.bands)
        path = product.path(draft.folder / draft.output.name)
        plain = draft.folder / "plain.tif"
        profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "nodata": IGNORE, "BIGTIFF": "IF_SAFER"}
        if product.kind != "classes":
            profile |= {"INTERLEAVE": "BAND", "PHOTOMETRIC": "MINISBLACK"}  # otherwise 3 bands would be RGB
        with raster_io.anywhere(), rasterio.open(plain, "w", **profile, **place) as out:
            for top in range(0, grid.height, _BLOCK):
                rows = draft.read(top, min(top + _BLOCK, grid.height))[:, first : first + count]
                out.write(np.moveaxis(rows, 1, 0), window=Window(0, top, grid.width, len(rows)))
                if product.kind == "classes":
                    yield top, rows[:, 0]
            for band, name in enumerate(product.bands, 1):
                out.set_band_description(band, name)
            out.update_tags(**tags, LCJAX_LEGEND=legend.name, **{_PLAN_TAG: digest(plan)})
            if product.kind == "classes":
                _write_legend(out, legend)
            else:
                out.scales, out.offsets = (1 / PROBABILITY_SCALE,) * count, (0.0,) * count
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            BLOCKSIZE=_BLOCK,
            COMPRESS=compress.upper(),
            OVERVIEW_RESAMPLING="MODE" if product.kind == "classes" else "AVERAGE",
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )
        plain.unlink()
        _check_copy(draft, path, first)
        first += count


def _write_legend(out, legend: Legend) -> None:
    names = {land_class.id: land_class.name for land_class in legend.scored}
    palette = legend.palette()
    out.write_colormap(1, {i: (*map(int, palette[i]), 255) for i in names} | {IGNORE: (0, 0, 0, 0)})
    out.update_tags(LCJAX_CLASSES=json.dumps(names))
    out.update_tags(1, **{f"CLASS_{i}": name for i, name in names.items()})


def _check_copy(draft: Draft, path: pathlib.Path, first: int) -> None:
    """Reads back what was written, because GDAL may report a full disk only in its log, when it closes a file."""
    with raster_io.opened(path) as dataset:
        for top in range(0, dataset.height, _BLOCK):
            rows = draft.read(top, min(top + _BLOCK, dataset.height))[:, first : first + dataset.count]
            written = dataset.read(window=Window(0, top, dataset.width, len(rows)))
            if not np.array_equal(written, np.moveaxis(rows, 1, 0)):
                raise OSError(errno.EIO, "what was written cannot be read back", str(path))


def read_map(path: pathlib.Path, longest: int) -> np.ndarray:
    """Reads the ids of a map, decimated so that no side is longer than `longest` pixels: (h, w) uint8."""
    with raster_io.opened(path) as dataset:
        return dataset.read(1, out_shape=decimated_size(dataset.height, dataset.width, longest))


def decimated_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Returns height and width in pixels, shrunk so that no side is longer than `longest`."""
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
