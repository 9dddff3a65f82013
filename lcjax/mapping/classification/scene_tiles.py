"""The tiles of a scene as records: what a network that classifies whole patches is shown of it."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geotiff, raster_io
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.spec import Extent
from lcjax.mapping.scene import Scene
from lcjax.ops.tiling import tile_starts

DATA = "data_share"  # the key of the share of a tile's pixels that hold data


class SceneTiles:
    """The tiles of an open scene, row by row, as a `Source` whose labels are not known.

    They lie side by side; the last of a row or a column ends where the scene ends, and overlaps the one before. A scene
    that is smaller than a tile is one tile.

    Args:
      scene: open.
      name: begins the ids of the tiles.
      tile: side in pixels.
    """

    in_memory = False

    def __init__(self, scene: Scene, name: str, tile: int):
        self._scene, self._lock, self.tile = scene, threading.Lock(), tile
        height, width = scene.grid.shape
        self.size = min(tile, height), min(tile, width)
        tops, lefts = (tile_starts(whole, side, 0) for whole, side in zip((height, width), self.size, strict=True))
        self._corners = [(top, left) for top in tops for left in lefts]
        self.ids = tuple(f"{name}_{top}_{left}" for top, left in self._corners)

    def __len__(self) -> int:
        return len(self._corners)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sensors = [layer.sensor.name for layer in self._scene.layers]
        return {"id": self.ids[index]} | self.read(index, [*sensors, "label", DATA])

    def read(
        self, index: int, keys: Sequence[str], corner: tuple[int, int] = (0, 0), size: int | None = None
    ) -> dict[str, np.ndarray]:
        """Reads the parts of a tile that `keys` names, whole: names of sensors, "label" (unknown), and `DATA`."""
        (top, left), (height, width) = self._corners[index], self.size
        with self._lock:  # of GDAL's files only one thread may read at a time
            record, valid = self._scene.read_part(top, left, height, width)
        record |= {"label": np.full(self.size, IGNORE, np.uint8), DATA: np.array(valid.mean(), np.float32)}
        return {key: record[key] for key in keys}

    def has_numbers(self, vector: str) -> bool:
        """False: files tell no numbers beside the images."""
        return False

    def extents(self) -> list[Extent | None]:
        """Returns what of the ground each tile covers; None where the scene lies nowhere."""
        crs, transform = raster_io.crs_of(self._scene.grid), self._scene.grid.transform
        return [geotiff.extent_of(crs, transform, *corner, *self.size) for corner in self._corners]
