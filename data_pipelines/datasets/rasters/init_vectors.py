"""`prepare --init` of polygons: which column holds the classes, which there are, and how much they cover."""

import contextlib
import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from rasterio.windows import Window

from data_pipelines.datasets.rasters import init_legend, vector_labels
from data_pipelines.datasets.rasters.init_blocks import Counted
from data_pipelines.datasets.rasters.init_legend import Row
from data_pipelines.datasets.rasters.vector_labels import Options, VectorLabels
from data_pipelines.geo import raster_io, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.display import distinct_colours
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, LandClass, Legend

SUFFIXES = tuple(suffix for suffix in vectors.SUFFIXES if suffix != ".json")  # those beside images are mostly of others
_NAMES: tuple[str, ...] = (
    "class",
    "class_name",
    "class_id",
    "classname",
    "label",
    "landcover",
    "land_cover",
    "landuse",
)
_NAMES += ("lulc", "lc", "category", "code", "type")
_MOST_CLASSES = 254
_GUESSED = 40  # values of a column with another name that may be one of classes


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The polygons of a folder.

    Attributes:
      source: the folder.
      how: they are drawn.
      legend: their classes, as legend.csv will have them.
      rows: of legend.csv.
    """

    source: pathlib.Path
    how: Options
    legend: Legend
    rows: list[Row]

    @contextlib.contextmanager
    def counted(self, image: pathlib.Path, mask: pathlib.Path) -> Iterator[Counted]:
        """The labels of an image, to be counted in parts."""
        with raster_io.anywhere(), raster_io.opened(image) as dataset:
            grid = Grid.of(dataset)
        labels = vector_labels.opened(mask, self.how, self.legend, grid, image)
        yield Counted(grid.height, grid.width, lambda window: _counts(labels, window))

    def look(self, image: pathlib.Path, mask: pathlib.Path) -> init_legend.Seen:
        """What the labels of a whole image hold."""
        with self.counted(image, mask) as counted:
            found = counted.counts(Window(0, 0, counted.width, counted.height))
        return init_legend.Seen(found, Counter(), False, {}, {})


def find(source: pathlib.Path, masks: Sequence[pathlib.Path]) -> Drawn:
    """Finds the column of the class, and the classes that it holds.

    Raises InputError where the files cannot be read, have no column in common that holds classes, or too many classes.
    """
    files = list(dict.fromkeys(masks))
    columns = [vectors.columns(path) for path in files]
    shared = [name for name in columns[0] if all(name in others for others in columns[1:])]
    by_name = {name.casefold(): name for name in reversed(shared)}
    named = [by_name[name] for name in _NAMES if name in by_name]
    values = {}
    for column in named[:1] or shared:
        labelled = [vector_labels.read(path, Options(column=column)) for path in files]
        found = vector_labels.texts_of(labelled)
        if named or 2 <= len(found) <= min(_GUESSED, sum(len(one.which) for one in labelled) // 2):
            values[column] = found
    if len(values) != 1:
        told = ", ".join(shared)[:300] or "none that all files have"
        raise InputError(
            f"{files[0]}: which column holds the class of each feature cannot be told; found {told}; call it class, or "
            "write rasters.csv yourself, with its name in the column class_column (docs/own_data.md)"
        )
    ((column, texts),) = values.items()
    if not 1 <= len(texts) <= _MOST_CLASSES:
        raise InputError(
            f"{files[0]}: {len(texts)} classes in the column {column}; expected 1 to {_MOST_CLASSES}; is it the one of "
            "the class?"
        )
    as_ids = all(re.fullmatch(r"0|[1-9]\d{0,2}", text, re.ASCII) and int(text) < IGNORE for text in texts)
    ids = [int(text) for text in texts] if as_ids else list(range(1, len(texts) + 1))
    names = [f"class_{number}" for number in ids] if as_ids else texts
    rows: list[Row] = [
        (number, name, colour, "") for number, name, colour in zip(ids, names, distinct_colours(len(ids)), strict=True)
    ]
    legend = Legend("found", tuple(LandClass(number, name, colour) for number, name, colour, _ in rows))
    return Drawn(source, Options(column=column), legend, rows)


def _counts(labels: VectorLabels, part: Window) -> Counter:
    """Labelled pixels by id in a part of an image."""
    total = np.zeros(256, np.int64)
    for window in raster_io.parts(part):
        total += np.bincount(labels.read(window).ravel(), minlength=256)
    return Counter({number: int(count) for number, count in enumerate(total[:IGNORE]) if count})
