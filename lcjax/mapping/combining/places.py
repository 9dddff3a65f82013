"""Where the scenes of a mosaic lie: all on one grid, that of the first, each so many whole pixels away from it.

Scenes of another CRS, of pixels of another size, or turned are refused: a class cannot be resampled, and how the
numbers of a scene are is for its owner to say. Pixels that lie between those of the first scene move by up to half a
pixel, which is said.
"""

import dataclasses
import datetime
import logging
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.geo import geodesy, grids, raster_io
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.mapping.scene_list import Job

_log = logging.getLogger(__name__)

_AMISS = 0.05  # pixels that a scene may be moved by without a word
_SPARSE = 4.0  # times the pixels of all scenes that a mosaic may have without a word


@dataclasses.dataclass(frozen=True)
class Source:
    """A scene of a mosaic.

    Attributes:
      job: its files, and what is not to be mapped of it.
      path: of the file whose grid it has, for messages.
      grid: its own.
      time: when it was taken; None where nothing tells.
      top, left: its first pixel in the mosaic.
    """

    job: Job
    path: pathlib.Path
    grid: Grid
    time: datetime.datetime | None
    top: int = 0
    left: int = 0

    @property
    def called(self) -> str:
        """The line of the list that names it, or its file, for messages."""
        return self.job.origin or str(self.path)


def joined(sources: Sequence[Source]) -> tuple[Grid, list[Source]]:
    """Returns the grid that holds all scenes, and each scene with its place in it.

    Args:
      sources: at least one, whose places are not known.

    Raises:
      InputError: a scene lies nowhere, or on another grid, or all together are too large.
    """
    first = sources[0].grid
    for source in sources:
        if raster_io.crs_of(source.grid) is None or not geodesy.is_earthly(source.grid.crs):
            raise InputError(
                f"{source.called}: lies nowhere on the Earth, so it has no place in a mosaic; map it alone"
            )
    placed = [_placed(source, sources[0]) for source in sources]
    top, left = min(source.top for source in placed), min(source.left for source in placed)
    height = max(source.top + source.grid.height for source in placed) - top
    width = max(source.left + source.grid.width for source in placed) - left
    if height * width > limits.MAX_PIXELS:
        raise InputError(
            f"--mosaic: {width:,} x {height:,} pixels from {placed[0].path.name} to the last of {len(placed)} scenes; "
            f"expected at most {limits.MAX_PIXELS:,}; are they of one area?"
        )
    if height * width > _SPARSE * sum(source.grid.height * source.grid.width for source in placed):
        _log.warning("--mosaic: %d x %d pixels, most of which no scene covers; are all of one area?", width, height)
    transform = first.transform @ type(first.transform).translation(left, top)
    moved = [dataclasses.replace(source, top=source.top - top, left=source.left - left) for source in placed]
    return Grid(first.crs, transform, height, width), moved


def _placed(source: Source, first: Source) -> Source:
    """The scene with its place against the first one. Raises InputError where its pixels are not of that grid."""
    grid, like = source.grid, first.grid
    corner = np.linalg.solve(like.matrix, grid.matrix @ (0, 0, 1))[:2]
    left, top = np.rint(corner.clip(-(2**40), 2**40)).astype(int).tolist() if np.isfinite(corner).all() else (0, 0)
    here = like.transform @ type(like.transform).translation(left, top)
    if found := grids.difference(grid, Grid(like.crs, here, grid.height, grid.width), first.path.name):
        if grid.crs != like.crs:  # how far apart they are is told of their own places
            there = Grid(like.crs, like.transform, grid.height, grid.width)
            found = grids.difference(grid, there, first.path.name)
        code = geodesy.codes(like.crs)[0] or "that CRS"
        across, down = np.hypot(*like.matrix[:2, :2])
        raise InputError(
            f"{source.called}: {found}; expected the CRS and the pixels of the first scene, for a mosaic has one grid; "
            f"warp it, e.g. with `gdalwarp -t_srs {code} -tr {across:.10g} {down:.10g} -tap -r bilinear`"
        )
    if (away := np.abs(corner - (left, top)).max()) > _AMISS:
        _log.warning("%s: its pixels are moved by %.2f of a pixel, onto those of %s", source.path, away, first.path)
    return dataclasses.replace(source, top=top, left=left)
