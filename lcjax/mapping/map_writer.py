"""The GeoTIFFs of a map: their bands, how they are written and read back, and by what a map is known again."""

import dataclasses
import errno
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

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
from lcjax.ops import reliability
from lcjax.ops.reliability import PROBABILITY_SCALE

COMPRESSIONS = ("deflate", "lzw")
ERRORS = (OSError, rasterio.errors.RasterioError, CPLE_BaseError)  # that writing may raise
POLYGONS = "polygons"
# Kinds of the rasters that may lie beside the map of classes.
BESIDE = ("confidence", "probabilities", "conformal", "mutual_information", "scene")
SETS = ("number of classes in the set", "classes in the set, one bit each")  # bands of the conformal sets
# Both bands of a set must be of one pixel, and numbers of scenes have no mean.
_OVERVIEWS = {"classes": "MODE", "conformal": "NEAREST", "scene": "NEAREST"}
_MASK_BYTES = 4
MOST_IN_SETS = 8 * _MASK_BYTES - 1  # classes; a mask of all ones stands for no data
_BLOCK = 512  # rows and columns of a block of the GeoTIFFs
_PLAN_TAG, _SCENE_TAG, _FILES_TAG = "LCJAX_PLAN", "LCJAX_SCENE", "LCJAX_FILES"


@dataclasses.dataclass(frozen=True)
class Product:
    """One GeoTIFF of a map, or its polygons.

    Attributes:
      kind: "classes" (ids of the legend), "confidence" (probability of the mapped class), "probabilities",
        "conformal" (sets of classes), "mutual_information" (how far the members of an ensemble disagree), "scene"
        (number of the scene of a mosaic) or `POLYGONS`, which are made of the classes and have no bands.
      bands: description of each band.
      planes: bytes of a pixel while it is on its way, of which `numbers` makes those of the file.
      dtype: of the file.
    """

    kind: str
    bands: tuple[str, ...]
    planes: int
    dtype: str = "uint8"

    def path(self, output: pathlib.Path) -> pathlib.Path:
        """Returns the path of this product of the map `output`."""
        if self.kind == POLYGONS:
            return output.with_suffix(".gpkg")
        return output.with_name(f"{output.stem}_{self.kind}{output.suffix}") if self.kind in BESIDE else output

    def nodata(self, legend: Legend) -> int:
        """Returns the number of pixels without data; the largest there is, but of the classes that of the legend."""
        return legend.nodata if self.kind == "classes" else int(np.iinfo(self.dtype).max)

    def numbers(self, planes: np.ndarray) -> np.ndarray:
        """Returns (bands, rows, width) in `dtype` of the planes (rows, planes, width) uint8."""
        if self.kind == "scene":
            return (planes[:, 0] + (planes[:, 1].astype(np.uint16) << 8))[None]
        if self.kind != "conformal":
            return np.moveaxis(planes, 1, 0)
        size, mask = planes[:, 0].astype(np.uint32), np.zeros((len(planes), planes.shape[2]), np.uint32)
        for place in range(1, self.planes):
            mask |= planes[:, place].astype(np.uint32) << (8 * (place - 1))
        return np.stack([np.where(size == IGNORE, np.uint32(0xFFFFFFFF), size), mask])


def products(
    legend: Legend,
    *,
    confidence: bool = False,
    probabilities: bool = False,
    conformal: bool = False,
    mutual_information: bool = False,
    scene: bool = False,
    vector: bool = False,
) -> tuple[Product, ...]:
    """Returns the GeoTIFFs of a map, the classes first, and its polygons."""
    names = tuple(f"probability of {land_class.name}" for land_class in legend.scored)
    wanted = {
        Product("classes", ("land cover",), 1): True,
        Product("confidence", ("probability of the mapped class",), 1): confidence,
        Product("probabilities", names, len(names)): probabilities,
        Product("conformal", SETS, 1 + _MASK_BYTES, "uint32"): conformal,
        Product("mutual_information", ("mutual information of class and member, 1 at most",), 1): mutual_information,
        Product("scene", ("number of the scene that a pixel is of",), 2, "uint16"): scene,
        Product(POLYGONS, (), 0): vector,
    }
    return tuple(product for product, is_wanted in wanted.items() if is_wanted)


def planes_of(drafted: Sequence[Product]) -> dict[str, slice]:
    """Returns where the planes of each product lie in the rows of a draft, by kind."""
    ends = np.cumsum([0, *(product.planes for product in drafted)]).tolist()
    return {p.kind: slice(a, b) for p, a, b in zip(drafted, ends[:-1], ends[1:], strict=True)}


def empty_planes(legend: Legend, drafted: Sequence[Product]) -> np.ndarray:
    """Returns what the planes of a pixel without data hold, (planes,) uint8."""
    return np.array(
        [legend.nodata if p.kind == "classes" else IGNORE for p in drafted for _ in range(p.planes)], np.uint8
    )


def summary(legend: Legend, wanted: Sequence[Product], least: Sequence[float] = ()) -> Callable[[jax.Array], jax.Array]:
    """Makes the traceable function from probabilities to the planes of all products.

    Args:
      legend: gives the class ids.
      wanted: the products.
      least: of conformal sets, the probability from which on each class belongs to one.

    Returns:
      A function (classes, rows, width) float32 -> (rows, planes, width) uint8. It also takes twice as many: the
      probabilities that make the class, then those that are told; and last of all the mutual information, where that
      is wanted.
    """
    ids, classes = legend.value_of_index(), len(legend.scored)
    kinds = [product.kind for product in wanted if product.bands]

    def layers(probabilities_KxHxW: jax.Array) -> jax.Array:
        best = jnp.argmax(probabilities_KxHxW[:classes], axis=0)
        end = len(probabilities_KxHxW) - ("mutual_information" in kinds)
        told = jnp.moveaxis(probabilities_KxHxW[end - classes : end], 0, -1)
        levels = reliability.levels(told)
        planes_of = {
            "classes": lambda: jnp.asarray(ids)[best][None],
            "confidence": lambda: reliability.at_class(levels, best)[None],
            "probabilities": lambda: jnp.moveaxis(levels, -1, 0),
            "conformal": lambda: _set_planes(reliability.members(told, np.asarray(least))),
            "mutual_information": lambda: reliability.levels(probabilities_KxHxW[-1:]),
        }
        return jnp.moveaxis(jnp.concatenate([planes_of[kind]() for kind in kinds]), 0, 1)

    return layers


def _set_planes(members_HxWxK: jax.Array) -> jax.Array:
    """The number of classes in each set, and the bytes of its mask, the lowest first: (1 + bytes, H, W) uint8."""
    padded = jnp.pad(members_HxWxK, ((0, 0), (0, 0), (0, 8 * _MASK_BYTES - members_HxWxK.shape[-1])))
    mask = jnp.packbits(padded, axis=-1, bitorder="little")
    size = jnp.sum(members_HxWxK, axis=-1, keepdims=True).astype(jnp.uint8)
    return jnp.moveaxis(jnp.concatenate([size, mask], axis=-1), -1, 0)


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
    told: Mapping[str, str] = MappingProxyType({}),
    read: Callable[[int, int], np.ndarray] | None = None,
    drafted: Sequence[Product] = (),
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
      told: further tags of the files of probabilities.
      read: gives rows as `Draft.read`, which it is by default.
      drafted: the products whose planes the rows hold; those of `wanted` by default.

    Yields:
      (first row, class ids (rows, width) uint8) of the map from top to bottom, as they are written.
    """
    place = {"crs": raster_io.crs_of(grid), "transform": grid.transform, "width": grid.width, "height": grid.height}
    read, planes_by_kind = read or draft.read, planes_of(drafted or wanted)
    for product in (one for one in wanted if one.bands):
        count, planes = len(product.bands), planes_by_kind[product.kind]
        path, plain = product.path(draft.files / draft.output.name), draft.plain
        profile = {
            "driver": "GTiff",
            "dtype": product.dtype,
            "count": count,
            "nodata": product.nodata(legend),
            "BIGTIFF": "IF_SAFER",
        }
        if product.kind != "classes":
            profile |= {"INTERLEAVE": "BAND", "PHOTOMETRIC": "MINISBLACK"}  # otherwise 3 bands would be RGB
        with raster_io.anywhere(), rasterio.open(plain, "w", **profile, **place) as out:
            for top in range(0, grid.height, _BLOCK):
                rows = read(top, min(top + _BLOCK, grid.height))[:, planes]
                out.write(product.numbers(rows), window=Window(0, top, grid.width, len(rows)))
                if product.kind == "classes":
                    yield top, rows[:, 0]
            for band, name in enumerate(product.bands, 1):
                out.set_band_description(band, name)
            out.update_tags(**tags, LCJAX_LEGEND=legend.name)
            if product.kind == "classes":
                out.update_tags(**marked)
                _write_legend(out, legend)
            elif product.kind == "conformal":
                out.update_tags(**told, LCJAX_BITS=json.dumps([land_class.name for land_class in legend.scored]))
                out.update_tags(2, **{f"BIT_{bit}": c.name for bit, c in enumerate(legend.scored)})
            elif product.kind != "scene":
                out.update_tags(**told)
                out.scales, out.offsets = (1 / PROBABILITY_SCALE,) * count, (0.0,) * count
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            BLOCKSIZE=_BLOCK,
            COMPRESS=compress.upper(),
            OVERVIEW_RESAMPLING=_OVERVIEWS.get(product.kind, "AVERAGE"),
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )
        plain.unlink()
        _check_copy(read, path, product, planes)


def _write_legend(out, legend: Legend) -> None:
    names = {land_class.value: land_class.name for land_class in legend.scored}
    palette = legend.map_palette()
    out.write_colormap(1, {i: (*map(int, palette[i]), 255) for i in names} | {legend.nodata: (0, 0, 0, 0)})
    out.update_tags(LCJAX_CLASSES=json.dumps(names))
    out.update_tags(1, **{f"CLASS_{i}": name for i, name in names.items()})


def _check_copy(read: Callable[[int, int], np.ndarray], path: pathlib.Path, product: Product, planes: slice) -> None:
    """Reads back what was written, because GDAL may report a full disk only in its log, when it closes a file."""
    try:
        with raster_io.opened(path) as dataset:
            for top in range(0, dataset.height, _BLOCK):
                rows = read(top, min(top + _BLOCK, dataset.height))[:, planes]
                written = dataset.read(window=Window(0, top, dataset.width, len(rows)))
                if not np.array_equal(written, product.numbers(rows)):
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
