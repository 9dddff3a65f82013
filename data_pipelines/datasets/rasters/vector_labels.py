"""Masks that are polygons, lines or points: how a row of the CSV says that they are drawn, and their labels."""

import contextlib
import dataclasses
import functools
import pathlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rasterio.windows import Window

from data_pipelines.datasets.rasters import class_table
from data_pipelines.datasets.rasters.columns import NO, YES
from data_pipelines.geo import burning, vectors
from data_pipelines.geo.burning import Drawing
from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.geopackage import Value
from data_pipelines.geo.grids import Grid
from data_pipelines.geo.vectors import Features, Placed
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.spec import Refused

CLASS = "class"  # the column of the class where a row names none
_WIDEST = 10_000.0  # metres of a buffer
_READING = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Options:
    """How the polygons of a row are drawn, as its columns say.

    Attributes:
      column: that holds the class of each feature: its id, or its name.
      layer: of the file; "" for the only one.
      outside: id or name of the class that lies where no feature is; "" where nothing is known of it.
      drawing: touching, buffer and overlap.
    """

    column: str = CLASS
    layer: str = ""
    outside: str = ""
    drawing: Drawing = burning.PLAIN


def options(where: str, row: Mapping[str, str]) -> Options:
    """Reads how polygons are drawn from a row of the CSV of pairs; `where` it stands is for messages.

    Raises:
      InputError: a value is none of those that its column may have.
    """
    touched, buffer = row.get("all_touched", "").lower(), row.get("buffer", "")
    overlap = row.get("overlap", "").lower() or burning.LAST
    if touched not in (*YES, *NO):
        raise InputError(
            f"{where}: all_touched {row['all_touched']!r}; expected 1 (all pixels that a polygon touches), 0 or nothing"
        )
    if overlap not in burning.OVERLAPS:
        raise InputError(f"{where}: overlap {row['overlap']!r}; expected one of {', '.join(burning.OVERLAPS)}")
    if not re.fullmatch(r"(-?\d{1,9}(\.\d{1,9})?)?", buffer) or abs(metres := float(buffer or 0)) > _WIDEST:
        raise InputError(
            f"{where}: buffer {buffer!r}; expected metres, such as 15 or -7.5, of at most {_WIDEST:,.0f}, or nothing"
        )
    drawing = Drawing(touched in YES, metres, overlap)
    return Options(row.get("class_column", "") or CLASS, row.get("layer", ""), row.get("outside", ""), drawing)


@dataclasses.dataclass(frozen=True)
class VectorLabels:
    """The labels of one image, drawn where they are asked for.

    Attributes:
      placed: what of the file meets the image.
      ids: of each feature of the file, the id of the legend; 255 for no label.
      outside: the id where no feature is.
      drawing: how.
      remarks: on the file, as sentences.
      areas: of each feature of the file, where the overlap asks for them.
    """

    placed: Placed
    ids: np.ndarray
    outside: int
    drawing: Drawing
    remarks: tuple[str, ...]
    areas: np.ndarray | None = None

    def read(self, window: Window) -> np.ndarray:
        """The ids of a window, (h, w) uint8; 255 where there is no label."""
        drawn = burning.burned(self.placed, self.ids, window, self.outside, self.drawing, IGNORE, self.areas)
        return drawn.astype(np.uint8)

    def may_label(self, window: Window) -> bool:
        """Whether a window may hold a label, told by the bounds of the features."""
        if self.outside != IGNORE:
            return True
        margin = self.drawing.margin(self.placed.pixel) if self.drawing.buffer > 0 else 1
        boxes = self.placed.shapes.boxes() - (window.col_off, window.row_off) * 2
        size = (window.width, window.height)
        return bool(((boxes[:, :2] <= np.add(size, margin)).all(1) & (boxes[:, 2:] >= -margin).all(1)).any())


def opened(path: pathlib.Path, how: Options, legend: Legend, grid: Grid, image: pathlib.Path) -> VectorLabels:
    """Makes the labels of an image from a file of polygons, lines or points.

    Args:
      path: of the file.
      how: they are drawn.
      legend: with the numbers and names of the classes.
      grid, image: of the image.

    Raises:
      Refused: names the file where `vectors.read` and `vectors.onto` refuse it, and where a class is not in the legend.
    """
    labelled = read(path, how)
    placed = vectors.onto(labelled.features, grid, image)
    if how.drawing.buffer:
        placed = vectors.onto(labelled.features, grid, image, how.drawing.margin(placed.pixel))
    id_of = [_id_of(text, legend) for text in labelled.texts]
    if None in id_of:
        text, number = labelled.texts[id_of.index(None)], int((labelled.which == id_of.index(None)).argmax()) + 1
        shown = ", ".join(f"{land_class.value} ({land_class.name})" for land_class in legend.classes)
        near = did_you_mean(text, [land_class.name for land_class in legend.classes])
        raise Refused(
            path,
            f"{how.column} {text[:60]!r} of feature {number} is not in the legend; {near}expected an id or a name: "
            f"{shown[:300]}; add a row for it, with ignore 1 if it is no class",
        )
    outside = _id_of(how.outside, legend)
    if outside is None:
        raise Refused(
            path,
            f"outside of its polygons is to be {how.outside!r}, which is not in the legend; expected the id or the "
            "name of a class, or nothing: then there is no label",
        )
    ids = np.array(id_of, np.int16)[labelled.which]
    areas = labelled.features.areas if how.drawing.overlap == burning.SMALLEST else None
    return VectorLabels(placed, ids, outside, how.drawing, labelled.features.remarks, areas)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The features of a file, and the class of each as a text.

    Attributes:
      features: of the file.
      texts: the classes that its column holds, each once; "" where a feature has none.
      which: (features,) the place of the class of each in `texts`.
    """

    features: Features
    texts: list[str]
    which: np.ndarray


def read(path: pathlib.Path, how: Options) -> Labelled:
    """The features of a file with their classes; a file that is of many images is read once.

    Raises:
      Refused: names the file where it cannot be used.
    """
    with refusing(path), _READING:
        about = path.stat()
        return _read(path, how.column, how.layer, how.drawing.buffer > 0, (about.st_size, about.st_mtime_ns))


@contextlib.contextmanager
def refusing(path: pathlib.Path) -> Iterator[None]:
    """Raises Refused, which is of one row, in place of any other InputError on a file, and where it is not there."""
    try:
        yield
    except OSError as error:
        raise Refused(path, f"{error.strerror}; expected a file of polygons, or a mask") from error
    except Refused:
        raise
    except InputError as error:
        raise Refused(path, str(error).removeprefix(f"{path}: ")) from error


@functools.lru_cache(maxsize=4)
def _read(path: pathlib.Path, column: str, layer: str, lines: bool, stamp: tuple[int, int]) -> Labelled:
    kinds = (wkb.POLYGON, wkb.POINT, *((wkb.LINE,) if lines else ()))
    features = vectors.read(path, layer, column, kinds)
    place: dict[str, int] = {}
    which = [place.setdefault(_text_of(value), len(place)) for value in features.values]
    return Labelled(features, list(place), np.array(which, np.int64))


def _id_of(text: str, legend: Legend) -> int | None:
    """The id of the class that a text means, as `class_table.meant`, or None.

    No text is no label: a polygon of no class hides what lies below it.
    """
    if not text:
        return IGNORE
    if land_class := class_table.meant(text, legend):
        return land_class.id
    return IGNORE if text == str(IGNORE) == str(legend.nodata) else None


def _text_of(value: Value) -> str:
    """The class of a feature as a text: whole numbers without a decimal point, "" for none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else " ".join(str(value).split())


def texts_of(labelled: Sequence[Labelled]) -> list[str]:
    """The classes that columns hold, each once: numbers by size, then names."""
    found = {text for one in labelled for text in one.texts if text}
    return sorted(found, key=lambda text: (not text.isdecimal(), int(text) if text.isdecimal() else 0, text))
