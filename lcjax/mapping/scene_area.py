"""Which pixels of a scene are mapped, where not all are: those in an area of interest that no mask excludes.

The network is shown the whole scene all the same. So what is mapped is what the map of the whole scene shows there.
"""

import contextlib
import dataclasses
import logging
import math
import pathlib
from collections.abc import Iterator

import numpy as np
from rasterio.windows import Window

from data_pipelines.geo import burning, exclusions, vectors
from data_pipelines.geo.exclusions import Excluded, Exclusion
from data_pipelines.geo.grids import Grid
from data_pipelines.geo.vectors import Features, Placed
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_log = logging.getLogger(__name__)


class Outside(Refused):
    """Nothing of a scene lies in the area of interest."""


@dataclasses.dataclass(frozen=True)
class SceneArea:
    """The pixels of an open scene that are to be mapped.

    Attributes:
      rows: the first of the rows that any tile with such a pixel reaches, and the end.
      plan: all that the pixels depend on, but for the bytes of a mask; JSON.
      tags: what a map says of them.
      aoi: the area of interest, in pixels; None where all of the scene is of interest.
      mask: what is excluded; None where nothing is.
    """

    rows: tuple[int, int]
    plan: dict[str, str]
    tags: dict[str, str]
    aoi: Placed | None = None
    mask: Excluded | None = None

    def reached(self, first: int, end: int) -> bool:
        """Whether a tile with a pixel to be mapped reaches into the rows from `first` up to `end`."""
        return first < self.rows[1] and end > self.rows[0]

    def read(self, window: Window) -> np.ndarray:
        """Returns the pixels of a window that are to be mapped, (h, w) bool."""
        inside = np.ones((window.height, window.width), bool)
        if self.aoi is not None:
            inside &= burning.covered(self.aoi, window)
        if self.mask is not None:
            inside &= ~self.mask.read(window)[0]
        return inside


def read_aoi(text: str) -> Features:
    """Reads an area of interest.

    Args:
      text: of --aoi: FILE, or FILE:LAYER of a file of several layers.

    Raises:
      InputError: it holds no polygons, or cannot be read.
    """
    path, layer = paths.given(text, "--aoi"), ""
    if not path.exists():
        name, _, layer = text.rpartition(":")
        path = paths.given(name or text, "--aoi")
    if not path.exists():
        raise InputError(f"--aoi={text}: no such file; expected polygons, e.g. area.gpkg, or area.gpkg:LAYER")
    features = vectors.read(path, layer)
    for remark in features.remarks:
        _log.warning("%s: %s", path, remark)
    return features


@contextlib.contextmanager
def opened(
    grid: Grid, image: pathlib.Path, tile: int, aoi: Features | None, mask: Exclusion | None
) -> Iterator[SceneArea]:
    """Brings an area of interest and a mask onto a scene, for the time of the context.

    Args:
      grid: of the scene.
      image: its file, for messages.
      tile: side of a tile in pixels.
      aoi: the area of interest, if any.
      mask: what is not to be mapped, if anything.

    Raises:
      Outside: nothing of the scene lies in the area of interest.
      InputError: one of the two does not fit the scene.
    """
    rows, plan, tags = (0, grid.height), {}, {}
    placed, excluded = None, None
    with contextlib.ExitStack() as stack:
        if aoi is not None:
            placed = _placed(aoi, grid, image)
            boxes = placed.shapes.boxes()
            rows = math.floor(boxes[:, 1].min()) - tile, math.ceil(boxes[:, 3].max()) + tile
            plan["aoi"] = placed.digest
            tags["LCJAX_AOI"] = f"{aoi.path.name}, layer {aoi.layer}"
        if mask is not None:
            excluded = stack.enter_context(exclusions.opened(mask, grid, image))
            share = exclusions.survey(excluded, mask, grid, image)
            _log.info("%s: %.1f %% of %s are not mapped (%s)", mask.path, 100 * share, image, mask.told)
            plan["mask"] = f"{excluded.digest} {mask.numbers}"
            tags["LCJAX_MASK"] = mask.told
        yield SceneArea(rows, plan, tags, placed, excluded)


def _placed(aoi: Features, grid: Grid, image: pathlib.Path) -> Placed:
    """The area of interest in the pixels of a scene; raises Outside where it holds none of them."""
    try:
        placed = vectors.onto(aoi, grid, image)
    except vectors.Elsewhere as error:
        raise Outside(aoi.path, error.reason) from error
    if not len(placed.shapes.kinds):
        raise Outside(aoi.path, f"none of its features meets {image}; expected some on it")
    return placed


def reaches(grid: Grid, image: pathlib.Path, aoi: Features) -> bool:
    """Whether any of a scene lies in an area of interest."""
    try:
        _placed(aoi, grid, image)
    except Outside:
        return False
    return True
