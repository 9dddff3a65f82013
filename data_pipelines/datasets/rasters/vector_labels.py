"""Masks that are polygons, lines or points: how a row of the CSV says that they are drawn, and their labels."""

import dataclasses
import functools
import pathlib
import re
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from rasterio.windows import Window

from data_pipelines.datasets.rasters.columns import NO, YES
from data_pipelines.geo import burning, vectors, wkb
from data_pipelines.geo.burning import Drawing
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
    """

    placed: Placed
    ids: np.ndarray
    outside: int
    drawing: Drawing
    remarks: tuple[str, ...]

    def read(self, window: Window) -> np.ndarray:
        """The ids of a window, (h, w) uint8; 255 where there is no label."""
        drawn = burning.burned(self.placed, self.ids, window, self.outside, self.drawing, tie=IGNORE)
        return drawn.astype(np.uint8)

    def may_label(self, window: Window) -> bool:
        """Whether a window may hold a label, told by the bounds of the features."""
        if self.outside != IGNORE:
            return True
        margin = self.drawing.margin(self.placed.pixel)
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
    features = read(path, how)
    placed = vectors.onto(features, grid, image)
    placed = vectors.onto(features, grid, image, how.drawing.margin(placed.pixel)) if how.drawing.buffer else placed
    known = _ids_by_text(legend)
    texts = [text_of(value) for value in features.values]
    for number, text in enumerate(texts, 1):
        if text.casefold() not in known:
            shown = ", ".join(f"{land_class.value} ({land_class.name})" for land_class in legend.classes)
            raise Refused(
                path,
                f"{how.column} {text[:60]!r} of feature {number} is not in the legend; {did_you_mean(text, known)}"
                f"expected an id or a name: {shown[:300]}; add a row for it, with ignore 1 if it is no class",
            )
    if how.outside.casefold() not in known:
        raise Refused(
            path,
            f"outside of its polygons is to be {how.outside!r}, which is not in the legend; expected the id or the "
            "name of a class, or nothing: then there is no label",
        )
    ids = np.array([known[text.casefold()] for text in texts], np.int16)
    return VectorLabels(placed, ids, known[how.outside.casefold()], how.drawing, features.remarks)


def read(path: pathlib.Path, how: Options) -> Features:
    """The features of a file with their classes; a file that is of many images is read once.

    Raises:
      Refused: names the file where it cannot be used.
    """
    try:
        about = path.stat()
        with _READING:
            return _read(path, how.column, how.layer, how.drawing.buffer > 0, (about.st_size, about.st_mtime_ns))
    except OSError as error:
        raise Refused(path, f"{error.strerror}; expected a file of polygons") from error
    except Refused:
        raise
    except InputError as error:
        raise Refused(path, str(error).removeprefix(f"{path}: ")) from error


@functools.lru_cache(maxsize=4)
def _read(path: pathlib.Path, column: str, layer: str, lines: bool, stamp: tuple[int, int]) -> Features:
    kinds = (wkb.POLYGON, wkb.POINT, *((wkb.LINE,) if lines else ()))
    return vectors.read(path, layer, column, kinds)


def _ids_by_text(legend: Legend) -> dict[str, int]:
    """What a class may be called in a column, in small letters -> its id; names come before numbers.

    No text is no label: a polygon of no class hides what lies below it.
    """
    none = {"": IGNORE} | ({str(IGNORE): IGNORE} if legend.nodata == IGNORE else {})
    by_name = {land_class.name.casefold(): land_class.id for land_class in legend.classes}
    return none | {str(land_class.value): land_class.id for land_class in legend.classes} | by_name


def text_of(value: Value) -> str:
    """The class of a feature as a text: whole numbers without a decimal point, "" for none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def texts_of(features: Sequence[Features]) -> list[str]:
    """The classes that columns hold, each once: numbers by size, then names."""
    found = {text for one in features for value in one.values if (text := text_of(value))}
    return sorted(found, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
