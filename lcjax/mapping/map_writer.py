"""The GeoTIFFs of a map: their bands, how they are written and read back, and by what a map is known again."""

import dataclasses
import errno
import hashlib
import json
import pathlib
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
from data_pipelines.schema import typed_json
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.spec import Refused
from lcjax.mapping import qgis_styles
from lcjax.mapping.drafts import Draft
from lcjax.mapping.scene_files import SceneFiles

PROBABILITY_SCALE = 250  # a probability p is stored as round(250 p), so that 255 is free for no data
COMPRESSIONS = ("deflate", "lzw")
ERRORS = (OSError, rasterio.errors.RasterioError, CPLE_BaseError)  # that writing may raise
_BLOCK = 512  # rows and columns of a block of the GeoTIFFs
_PLAN_TAG, _SCENE_TAG, _FILES_TAG = "LCJAX_PLAN", "LCJAX_SCENE", "LCJAX_FILES"


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

    def nodata(self, legend: Legend) -> int:
        """Returns the number of pixels without data; of probabilities 255, whatever the legend writes."""
        return legend.nodata if self.kind == "classes" else IGNORE


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
    ids = legend.value_of_index()
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


# ---- whose map it is ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a map says of itself, in its tags.

    Attributes:
      plan: digest of what was mapped, by which network and how.
      content: `SceneFiles.content` of its scene.
      stamp: `SceneFiles.stamp` of its scene; beside the map, so that its own bytes depend on no times; "" without.
      files: names of all the files that it consists of.
    """

    plan: str
    content: str
    stamp: str
    files: frozenset[str]


def digest(plan: dict) -> str:
    """Returns a short hash of a plan: what is mapped, by which network and how."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def marks(plan: dict, draft: Draft, names: Iterable[str]) -> dict[str, str]:
    """Returns the tags from which `read_mark` knows a map.

    Args:
      plan: what is mapped, by which network and how.
      draft: of the map.
      names: of the files that it consists of.
    """
    # The ends of the names: a map that is renamed with all that lies beside it still knows its files.
    ends = [name.removeprefix(draft.output.stem) for name in names]
    return {_PLAN_TAG: digest(plan), _SCENE_TAG: draft.content, _FILES_TAG: json.dumps(ends)}


def read_mark(output: pathlib.Path) -> Mark | None:
    """Returns what a map says of itself; None where there is no file, or none that is a map by lcjax."""
    try:
        with raster_io.opened(output) as dataset:
            tags, beside = dataset.tags(), dataset.tags(ns=qgis_styles.DOMAIN)
        ends = typed_json.convert(typed_json.parse(tags[_FILES_TAG], output, ""), list[str], output, "")
        files = frozenset(output.stem + end for end in ends)
        return Mark(tags[_PLAN_TAG], tags[_SCENE_TAG], beside.get(qgis_styles.STAMP, ""), files)
    except (Refused, KeyError, TypeError, ValueError):
        return None


def is_finished(output: pathlib.Path, plan: dict, scene: SceneFiles) -> bool:
    """Whether `output` is the finished map of this plan and of a scene that has not changed since."""
    mark = read_mark(output)
    if not mark or mark.plan != digest(plan):
        return False
    return mark.stamp == scene.stamp or mark.content == scene.content


# ---- GeoTIFFs -------------------------------------------------------------------------------------------------------


def write_products(
    draft: Draft,
    wanted: Sequence[Product],
    grid,
    legend: Legend,
    tags: dict[str, str],
    marked: dict[str, str],
    compress: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Writes the cloud-optimised GeoTIFFs of a draft into its folder of files.

    Args:
      draft: with all its rows.
      wanted: the products.
      grid: an open rasterio dataset with the CRS, transform, width and height of the map.
      legend: names and colours of the class ids.
      tags: of the files.
      marked: further tags of the map alone, from `marks`.
      compress: one of `COMPRESSIONS`.

    Yields:
      (first row, class ids (rows, width) uint8) of the map from top to bottom, as they are written.
    """
    place = {"crs": raster_io.crs_of(grid), "transform": grid.transform, "width": grid.width, "height": grid.height}
    first = 0
    for product in wanted:
        count = len(product.bands)
        path, plain = product.path(draft.files / draft.output.name), draft.plain
        profile = {
            "driver": "GTiff",
            "dtype": "uint8",
            "count": count,
            "nodata": product.nodata(legend),
            "BIGTIFF": "IF_SAFER",
        }
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
            out.update_tags(**tags, LCJAX_LEGEND=legend.name)
            if product.kind == "classes":
                out.update_tags(**marked)
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
    names = {land_class.value: land_class.name for land_class in legend.scored}
    palette = legend.map_palette()
    out.write_colormap(1, {i: (*map(int, palette[i]), 255) for i in names} | {legend.nodata: (0, 0, 0, 0)})
    out.update_tags(LCJAX_CLASSES=json.dumps(names))
    out.update_tags(1, **{f"CLASS_{i}": name for i, name in names.items()})


def _check_copy(draft: Draft, path: pathlib.Path, first: int) -> None:
    """Reads back what was written, because GDAL may report a full disk only in its log, when it closes a file."""
    try:
        with raster_io.opened(path) as dataset:
            for top in range(0, dataset.height, _BLOCK):
                rows = draft.read(top, min(top + _BLOCK, dataset.height))[:, first : first + dataset.count]
                written = dataset.read(window=Window(0, top, dataset.width, len(rows)))
                if not np.array_equal(written, np.moveaxis(rows, 1, 0)):
                    raise OSError(errno.EIO, "what was written cannot be read back", str(path))
    except Refused as refusal:
        raise OSError(errno.EIO, f"what was written cannot be read back: {refusal.reason}", str(path)) from refusal


def read_map(path: pathlib.Path, longest: int) -> np.ndarray:
    """Reads the ids of a map, decimated so that no side is longer than `longest` pixels: (h, w) uint8."""
    with raster_io.opened(path) as dataset:
        return dataset.read(1, out_shape=decimated_size(dataset.height, dataset.width, longest))


def decimated_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Returns height and width in pixels, shrunk so that no side is longer than `longest`."""
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
