"""The one reader of polygons, lines and points that users give: labels, areas of interest, what is not to be used.

`read` opens a GeoPackage, GeoJSON, Shapefile or FlatGeobuf by pyogrio, the extra `vector`, and checks all that can be
checked without an image; `onto` brings it onto the pixels of an image. `data_pipelines.geo.burning` draws it.

What is not valid by the letter is read by one rule: a pixel is in a polygon if an odd number of its rings go around it,
so that rings may cross themselves, and each part of a multipolygon counts for itself. What has no place (no geometry, a
ring of fewer than three points) is left out; both are counted in `Features.remarks`. What else there is (curves,
coordinates that are no places) is named and refused.
"""

import contextlib
import dataclasses
import functools
import hashlib
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from data_pipelines.geo import geodesy, geopackage
from data_pipelines.geo.geometry import bending, clipping, geojson, wkb
from data_pipelines.geo.geometry.clipping import Box
from data_pipelines.geo.geometry.shapes import Shapes, crossing, offsets
from data_pipelines.geo.geopackage import Value
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.files import open_regular
from data_pipelines.schema.spec import Refused

FORMATS = {  # what a file begins with, blanks and a byte order mark taken away -> what it is
    b"SQLite format 3\0": "GPKG",
    b"{": "GeoJSON",
    b"\0\0\x27\x0a": "ESRI Shapefile",
    b"fgb\x03fgb": "FlatGeobuf",
}
SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
_EXPECTED = "a GeoPackage, GeoJSON, Shapefile or FlatGeobuf"
_BESIDE = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".idm", ".ind")  # what GDAL reads with a Shapefile
_FARTHEST = 1e10  # of a coordinate in any unit: the Earth is 4e7 metres around
_EXACT = 1024  # steps of a pixel to which places are rounded, so that a part of an image is drawn as the whole


@dataclasses.dataclass(frozen=True)
class Features:
    """A layer of a file.

    Attributes:
      path: of the file.
      layer: name of the layer.
      crs: of the coordinates.
      shapes: of its features, whose numbers are those in the file, from 0.
      values: of each feature in the class column; empty where none was asked for.
      remarks: what a user should know of it, as sentences: what was left out, what crosses itself.
    """

    path: pathlib.Path
    layer: str
    crs: CRS
    shapes: Shapes
    values: Sequence[Value] = ()
    remarks: tuple[str, ...] = ()

    @functools.cached_property
    def areas(self) -> np.ndarray:
        """Square metres on the ground of each feature, all of its parts together, (features,); of lines and points 0.

        Infinite where a part has no place on the Earth.
        """
        x, y = geodesy.equal_area(self.crs, *self.shapes.points.T)
        if self.crs.is_geographic:  # as it is written: an edge from -180 to 180 degrees goes around
            x = self.shapes.points[:, 0] * (self.crs.units_factor[1] / (2 * math.pi) * geodesy.AROUND)
        else:
            jumps = np.round(np.diff(x, prepend=x[:1]) / geodesy.AROUND)
            jumps[self.shapes.rings[:-1]] = 0
            x = x - geodesy.AROUND * np.cumsum(np.nan_to_num(jumps))
        areas = dataclasses.replace(self.shapes, points=np.stack([x, y], axis=1)).areas()
        return np.nan_to_num(areas, nan=np.inf)


@dataclasses.dataclass(frozen=True)
class Placed:
    """What of a layer meets an image, in its pixels.

    Attributes:
      shapes: coordinates are columns and rows; (0, 0) is the outer corner of the first pixel.
      pixel: metres on the ground from column to column, and from row to row.
    """

    shapes: Shapes
    pixel: tuple[float, float]

    @property
    def digest(self) -> str:
        """A short hash of the shapes: where it is the same, so are the pixels that they cover."""
        total = hashlib.sha256()
        for name in ("points", "rings", "parts", "kinds"):
            total.update(np.ascontiguousarray(getattr(self.shapes, name)).tobytes())
        return total.hexdigest()[:16]


def none_of(features: Features) -> Placed:
    """A layer of which nothing meets an image."""
    return Placed(features.shapes.chosen(np.zeros(len(features.shapes.kinds), bool)), (1.0, 1.0))


class Elsewhere(Refused):
    """No feature of a layer meets an image."""


def are_vectors(path: pathlib.Path) -> bool:
    """Whether the name of a file says that it holds points, lines or polygons."""
    return path.suffix.lower() in SUFFIXES


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files that hold what a file of features does: of a Shapefile, its columns are in another one."""
    beside = [path.with_suffix(suffix) for suffix in (*_BESIDE, *map(str.upper, _BESIDE))]
    if path.suffix.lower() != ".shp":
        beside = [path.with_name(f"{path.name}-wal")]  # of a GeoPackage that is open elsewhere
    return [path, *(other for other in beside if other.exists())]


def read(path: pathlib.Path, layer: str = "", column: str = "", kinds: Sequence[int] = (wkb.POLYGON,)) -> Features:
    """Reads a layer of points, lines or polygons, with all checks that need no image.

    Args:
      path: of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf.
      layer: its name; "" for the only one.
      column: whose value of each feature is wanted, capitals or not; "" for none.
      kinds: what it may hold.

    Raises:
      InputError: pyogrio is not installed; the file is none of the four formats, damaged or too large; there is no such
        layer or no such column; no features, or none with a place; no CRS; something of another kind, curves, or
        coordinates that are no places.
    """
    pyogrio = geopackage.installed(path, "a file of polygons", "")
    with _told(pyogrio, path):
        layer, there = _looked_into(pyogrio, path, layer)
        column = _column(path, layer, column, there)
        meta, _, geometries, data = pyogrio.raw.read(
            path, layer=layer, columns=[column] if column else [], force_2d=True,
            max_features=limits.VECTOR_FEATURES + 1,
        )  # fmt: skip
    if geometries is None or not len(geometries):
        what = "no geometries" if len(data and data[0]) else "no features"
        raise InputError(f"{path}: {what} in the layer {layer}; expected polygons; is it the right file, or layer?")
    if len(geometries) > limits.VECTOR_FEATURES:
        raise InputError(
            f"{path}: more than {limits.VECTOR_FEATURES:,} features; expected fewer; cut it to your images"
        )
    shapes, remarks = _taken_apart(path, geometries, kinds)
    crs = _crs(path, layer, meta["crs"])
    _check_degrees(path, crs, shapes)
    values = geopackage.values_of(data[0]) if column else []
    return Features(path, layer, crs, shapes, values, (*remarks, *crossing(shapes)))


def columns(path: pathlib.Path, layer: str = "") -> list[str]:
    """The columns of a layer. Raises InputError as `read`."""
    pyogrio = geopackage.installed(path, "a file of polygons", "")
    with _told(pyogrio, path):
        return _looked_into(pyogrio, path, layer)[1]


@contextlib.contextmanager
def _told(pyogrio, path: pathlib.Path) -> Iterator[None]:
    """Raises InputError for what GDAL cannot read, and logs what it warns of."""
    known = pyogrio.errors
    try:
        with geopackage.warnings_logged(path):
            yield
    except (
        known.DataSourceError, known.DataLayerError, known.FieldError, known.FeatureError, known.GeometryError,
        UnicodeDecodeError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()).partition(" It might help")[0].strip("; ")
        raise InputError(f"{path}: cannot be read ({reason}); damaged, or none of its kind; export it anew") from error


def _looked_into(pyogrio, path: pathlib.Path, layer: str) -> tuple[str, list[str]]:
    """The layer that is meant, and its columns."""
    _check_file(path)
    layer = _layer(path, layer, [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None])
    info = pyogrio.read_info(path, layer=layer)
    if info["driver"] not in FORMATS.values():
        raise InputError(f"{path}: found {info['driver']}; expected {_EXPECTED}; export it as one of them")
    return layer, [str(name) for name in info["fields"]]


def _check_file(path: pathlib.Path) -> None:
    """Raises InputError for what is none of the formats by its first bytes, too large, or has a pipe beside it."""
    with open_regular(path) as file:
        head = file.read(4096)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    known = next((name for begin, name in FORMATS.items() if head.startswith(begin) or text.startswith(begin)), "")
    if not known:
        raise InputError(f"{path}: none by its first bytes; expected {_EXPECTED}; export it as one of them")
    if known == "GPKG":
        if not geopackage.is_geopackage(path):
            raise InputError(f"{path}: a database, but no GeoPackage; expected {_EXPECTED}; export it as one of them")
        geopackage.check_stored(path, limits.VECTOR_BYTES)
    elif (size := path.stat().st_size) > limits.VECTOR_BYTES:
        raise InputError(
            f"{path}: {size:,} bytes; expected at most {limits.VECTOR_BYTES:,}; cut it to your images, e.g. with "
            "`ogr2ogr -spat`"
        )
    elif known == "GeoJSON":
        geojson.check_crs(path)
    elif known == "ESRI Shapefile":
        if path.suffix.lower() != ".shp":
            raise InputError(f"{path}: a Shapefile under another name; expected NAME.shp with NAME.dbf beside it")
        for other in files_of(path):
            open_regular(other).close()
        if not any(path.with_suffix(suffix).exists() for suffix in (".shx", ".SHX")):
            raise InputError(f"{path}: no {path.stem}.shx beside it; expected all files of the Shapefile: copy it anew")


def _layer(path: pathlib.Path, layer: str, there: Sequence[str]) -> str:
    """The layer that is meant."""
    told = ", ".join(there[:20]) or "none"
    if not there:
        raise InputError(f"{path}: no layer of features; expected polygons; is it the right file?")
    if layer and layer not in there:
        raise InputError(f"{path}: no layer {layer}; {did_you_mean(layer, there)}found {told}")
    if not layer and len(there) > 1:
        raise InputError(f"{path}: {len(there)} layers ({told}); expected one, or the name of the one that is meant")
    return layer or there[0]


def _column(path: pathlib.Path, layer: str, column: str, there: Sequence[str]) -> str:
    """The column that is meant, as the file spells it."""
    if not column or column in there:
        return column
    folded = [name for name in there if name.casefold() == column.casefold()]
    if len(folded) != 1:
        told = ", ".join(there)[:300] or "none"
        raise InputError(
            f"{path}: no column {column} in the layer {layer}; {did_you_mean(column, there)}found {told}; name the "
            "column that holds the class of each feature"
        )
    return folded[0]


def _crs(path: pathlib.Path, layer: str, text: str | None) -> CRS:
    try:
        crs = geodesy.crs_from(text) if text else None
    except CRSError:
        crs = None
    if crs is None or not geodesy.is_earthly(crs):
        beside = f" (there is no {path.stem}.prj beside it)" if path.suffix.lower() == ".shp" and not text else ""
        raise InputError(f"{path}: the layer {layer} has no CRS{beside}, so it lies nowhere; {_put_right(path)}")
    return crs


def _put_right(path: pathlib.Path) -> str:
    return (
        f"write in which CRS its numbers are, e.g. `ogr2ogr -a_srs EPSG:NNNN right.gpkg {path.name}` with the number "
        f"of that CRS, and take right.gpkg in place of {path.name}"
    )


def _check_degrees(path: pathlib.Path, crs: CRS, shapes: Shapes) -> None:
    """Raises InputError for degrees that are none: GeoJSON that does not tell its CRS counts as degrees."""
    if not crs.is_geographic:
        return
    turn = 2 * math.pi / crs.units_factor[1]
    wrong = (np.abs(shapes.points) > (turn, turn / 4 * (1 + 1e-9))).any(1)
    if wrong.any():
        x, y = shapes.points[wrong.argmax()]
        raise InputError(
            f"{path}: its CRS is {geodesy.codes(crs)[0] or 'geographic'}, but it holds {x:,.6g}, {y:,.6g}, which are "
            f"no degrees; {_put_right(path)}"
        )


def _taken_apart(path: pathlib.Path, geometries: Sequence[bytes | None], kinds: Sequence[int]) -> tuple[Shapes, list]:
    """The parts of all features, and what is to be said of what was left out."""
    points: list[np.ndarray] = []
    rings_of_part, kind_of_part, owners = [], [], []
    without, flat, total = 0, 0, 0
    expected = " or ".join(f"{wkb.KINDS[kind]}s" for kind in kinds)
    for number, geometry in enumerate(geometries):
        where = f"{path}: feature {number + 1}"
        try:
            parts = wkb.parts_of(geometry) if geometry else []
        except ValueError as error:
            raise InputError(f"{where} is {error}; expected {expected}; export it with straight edges") from error
        without += not parts
        for kind, rings in parts:
            if kind not in kinds:
                raise InputError(f"{where} is a {wkb.KINDS[kind]}; expected {expected}; {_REMEDY[kind]}")
            if not all((np.abs(ring) < _FARTHEST).all() for ring in rings):  # NaN is not
                raise InputError(f"{where} has coordinates that are no places; draw it anew, or take it out")
            kept = [ring for ring in rings if kind != wkb.POLYGON or _goes_around(ring)]
            if not kept or (kind == wkb.POLYGON and kept[0] is not rings[0]):
                flat += 1
                continue
            total += sum(map(len, kept))
            if total > limits.VECTOR_POINTS:
                raise InputError(f"{path}: more than {limits.VECTOR_POINTS:,} points; cut it to your images")
            points += kept
            rings_of_part.append(len(kept))
            kind_of_part.append(kind)
            owners.append(number)
    if not points:
        raise InputError(f"{path}: none of its {len(geometries)} features has a place; expected {expected}")
    remarks = [f"{without} features without a geometry are left out"] if without else []
    remarks += [f"{flat} polygons of fewer than three points are left out"] if flat else []
    shapes = Shapes(
        np.concatenate(points),
        offsets(np.array([len(ring) for ring in points])),
        offsets(np.array(rings_of_part)),
        np.array(kind_of_part),
        np.array(owners),
    )
    return shapes, remarks


_REMEDY = {
    wkb.POINT: "give it an area, e.g. with QGIS's Buffer",
    wkb.LINE: "give it an area, e.g. with QGIS's Buffer",
    wkb.POLYGON: "take it out, or put it into a file of its own",
}


def _goes_around(ring: np.ndarray) -> bool:
    """Whether a ring has three points that differ, so that it may go around something."""
    return len(ring) >= 3 and len(np.unique(ring, axis=0)) >= 3


# ---- onto an image --------------------------------------------------------------------------------------------------


def onto(features: Features, grid: Grid, image: pathlib.Path, margin: float = 0) -> Placed:
    """Brings what of a layer meets an image into its pixels; edges that are bent in its CRS are divided.

    Args:
      features: as `read` gives them.
      grid: of the image.
      image: its file, for messages.
      margin: pixels around the image that count as met.

    Returns:
      The features that meet the image, in order; none, where the layer surrounds the image and leaves it free.

    Raises:
      Elsewhere: all of the layer lies elsewhere.
      Refused: names the image where it lies nowhere, and the file where the CRS of the image does not reach it.
    """
    if not geodesy.is_earthly(grid.crs) or grid.transform.is_identity:
        raise Refused(image, f"has no CRS, or no transform; expected a place, which {features.path.name} has")
    try:
        pixel = geodesy.metres_per_pixel(grid.crs, grid.transform, grid.height, grid.width)
    except ValueError as error:
        raise Refused(image, f"{error}; expected a place, which {features.path.name} has") from error
    boxes, beside = clipping.boxes_of(features.crs, grid), margin / min(grid.width, grid.height)
    near = features.shapes.chosen(_may_meet(features, boxes, 0.05 + beside))
    if boxes and features.crs != grid.crs:
        near = clipping.clipped(near, [clipping.widened(box, 1 + 2 * beside) for box in boxes])
    moved = bending.in_pixels(features.crs, grid, near.points)
    if np.isnan(moved).any():
        ring = np.searchsorted(near.rings, np.isnan(moved).any(1).argmax(), "right") - 1
        number = near.owners[np.searchsorted(near.parts, ring, "right") - 1] + 1
        raise Refused(features.path, f"feature {number} has no place in the CRS of {image.name}; take it out")
    shapes = dataclasses.replace(near, points=moved)
    if features.crs != grid.crs:
        shapes = bending.divided(near, shapes, features.crs, grid)
    shapes = dataclasses.replace(shapes, points=np.round(shapes.points * _EXACT) / _EXACT)
    bounds, size = shapes.boxes(), (grid.width, grid.height)
    meets = np.all(bounds[:, :2] <= np.add(size, margin), axis=1) & np.all(bounds[:, 2:] >= -margin, axis=1)
    return Placed(shapes.chosen(meets), pixel)


def _may_meet(features: Features, boxes: Sequence[Box], more: float) -> np.ndarray:
    """Which parts may meet an image, told by bounds in the CRS of the layer.

    Args:
      boxes: of the image; none where they cannot be told, and then all parts may.
      more: the share of a box that counts beside it: the edges of an image are bent, too.

    Raises:
      Elsewhere: the bounds of all parts together do not meet the boxes.
    """
    bounds = features.shapes.boxes()
    if not boxes:
        return np.ones(len(bounds), bool)
    layer = bounds[:, :2].min(0), bounds[:, 2:].max(0)
    if not any((layer[0] <= high).all() and (layer[1] >= low).all() for low, high in boxes):
        lies, there = (
            f"x {one[0]:,.7g} to {other[0]:,.7g}, y {one[1]:,.7g} to {other[1]:,.7g}"
            for one, other in (layer, boxes[0])
        )
        raise Elsewhere(
            features.path,
            f"all of its features lie elsewhere ({lies}; the image {there}; both in "
            f"{geodesy.codes(features.crs)[0] or 'its CRS'}); expected some on it; is it the right file, and its CRS "
            "the right one?",
        )
    meets = np.zeros(len(bounds), bool)
    for low, high in (clipping.widened(box, more) for box in boxes):
        meets |= np.all(bounds[:, :2] <= high, axis=1) & np.all(bounds[:, 2:] >= low, axis=1)
    return meets
