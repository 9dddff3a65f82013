"""Which pixels of a map lie on tiles that its network was trained on: what is right there need not be elsewhere."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from data_pipelines.geo import geodesy
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Extent
from lcjax.runs import model_card, workdir

_ROLES = ("train", "validation")  # of a run: what was learned from, and what chose the checkpoint
_CHUNK = 2**22  # comparisons of points with tiles at a time
_EDGE = np.linspace(0, 1, 9)  # along the sides of a tile, which are bent in another CRS


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Tiles of training and validation.

    Attributes:
      origin: where they are known from, as a phrase.
      records: names of those that tell where they lie.
      extents: their bounds.
      placeless: how many do not tell where they lie.
    """

    origin: str
    records: tuple[str, ...]
    extents: tuple[Extent, ...]
    placeless: int

    def under(self, crs: CRS, x: np.ndarray, y: np.ndarray) -> list[str]:
        """Names a tile that each point lies on, "" for none.

        Args:
          crs: of the points.
          x, y: (n,) coordinates.
        """
        names = [""] * len(x)
        for code, members in self._by_crs().items():
            east, north = geodesy.transformed(crs, _crs(code), x, y)
            bounds = np.array([self.extents[member].bounds for member in members])
            step = max(1, _CHUNK // max(len(x), 1))
            for first in range(0, len(members), step):
                left, bottom, right, top = bounds[first : first + step].T[:, :, None]
                inside = (left <= east) & (east < right) & (bottom <= north) & (north < top)
                for tile, point in np.argwhere(inside).tolist():
                    names[point] = self.records[members[first + tile]]
        return names

    def _by_crs(self) -> dict[str, list[int]]:
        members: dict[str, list[int]] = {}
        for at, extent in enumerate(self.extents):
            members.setdefault(extent.crs, []).append(at)
        return members


class Mask:
    """The pixels of a map whose centres lie on tiles, by rows; called as `Layers.population` wants it."""

    def __init__(self, tiles: Tiles, crs: CRS | None, transform: Affine, height: int, width: int):
        """Finds the window of each tile in the map; arguments as of the map."""
        self._tiles, self._crs, self._transform, self._width = tiles, crs, transform, width
        self._windows: list[tuple[int, int, int, int, int]] = []  # first row, end, first column, end, tile
        for at, extent in enumerate(tiles.extents if crs is not None else ()):
            assert crs is not None
            left, bottom, right, top = extent.bounds
            across, up = left + (right - left) * _EDGE, bottom + (top - bottom) * _EDGE
            sides_x = np.concatenate([across, across, np.full_like(up, left), np.full_like(up, right)])
            sides_y = np.concatenate([np.full_like(across, bottom), np.full_like(across, top), up, up])
            x, y = geodesy.transformed(_crs(extent.crs), crs, sides_x, sides_y)
            columns, rows = geodesy.positions(~transform, x, y)
            if not np.isfinite(columns).all():
                continue  # beyond what the CRS of the map reaches
            first, end = int(np.floor(rows.min())) - 1, int(np.ceil(rows.max())) + 1
            begin, stop = int(np.floor(columns.min())) - 1, int(np.ceil(columns.max())) + 1
            if end > 0 and first < height and stop > 0 and begin < width:
                self._windows.append((max(first, 0), min(end, height), max(begin, 0), min(stop, width), at))

    def __call__(self, first: int, end: int) -> np.ndarray | None:
        """Returns the pixels of the rows from `first` up to `end` that lie on a tile, (rows, width) bool, or None."""
        found: np.ndarray | None = None
        for top, bottom, left, right, at in self._windows:
            if top >= end or bottom <= first:
                continue
            found = np.zeros((end - first, self._width), bool) if found is None else found
            rows, columns = np.arange(max(top, first), min(bottom, end)), np.arange(left, right)
            x, y = geodesy.positions(self._transform, columns[None, :] + 0.5, rows[:, None] + 0.5)
            assert self._crs is not None
            extent = self._tiles.extents[at]
            east, north = geodesy.transformed(self._crs, _crs(extent.crs), x, y)
            west, south, far, up = extent.bounds
            inside = (west <= east) & (east < far) & (south <= north) & (north < up)
            found[rows[0] - first : rows[-1] + 1 - first, left:right] |= inside
        return found


def read(folder: pathlib.Path) -> Tiles:
    """Reads the tiles of a run, or of a prepared data set.

    Args:
      folder: a workdir: the tiles that its run was trained on and validated with; or the folder of a prepared data set:
        all of its tiles, for it cannot tell which of them a run took.

    Raises:
      InputError: it is neither, or the data set of the run cannot be found.
    """
    if (folder / on_disk.DESCRIPTION).is_file():
        records = on_disk.read_records(folder)
        return _tiles(f"all records of {folder}", records.origins, records)
    if not (folder / workdir.CONFIG).is_file():
        raise InputError(
            f"--training={folder}: neither a workdir ({workdir.CONFIG}) nor a prepared data set "
            f"({on_disk.DESCRIPTION}); expected the workdir of the run that made the map, or the folder of its data "
            "set; --training=none where no point can lie on its tiles"
        )
    card, config = model_card.read(folder), workdir.read_config(folder)
    if card.data_in_memory:
        raise InputError(
            f"--training={folder}: its run was trained on arrays in Python, which lie nowhere; if none of them is from "
            "the ground of the map, say --training=none"
        )
    dataset = open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands)
    ids: list[str] = []
    for role in _ROLES:
        if role not in card.splits:
            continue
        split = card.splits[role]
        if dataset.split_id(split["spec"]) != split["id"]:
            raise InputError(
                f"--training={folder}: {dataset.folder} is not what its run was trained on ({role}: {split['spec']}); "
                "expected the same records; name the folder of the data set that was, or put it back"
            )
        ids += dataset.source(split["spec"]).ids
    return _tiles(
        f"the training and validation tiles of {folder}", dict.fromkeys(ids), on_disk.read_records(dataset.folder)
    )


def _tiles(origin: str, ids: Iterable[str], records: on_disk.Records) -> Tiles:
    extents = {name: records.origins[name].extent for name in ids}
    placed = {name: extent for name, extent in extents.items() if extent is not None}
    return Tiles(origin, tuple(placed), tuple(placed.values()), len(extents) - len(placed))


def _crs(code: str) -> CRS:
    try:
        return geodesy.crs_from(code)
    except ValueError as error:  # rasterio's CRSError
        raise InputError(f"{on_disk.RECORDS}: the CRS {code[:60]!r} is unknown; prepare the data set anew") from error


def named(points: Sequence[int], names: Sequence[str]) -> str:
    """Names the first of the points that lie on tiles, for messages: "3 (on a), 17 (on b), ..."."""
    told = [f"{point} (on {name})" for point, name in zip(points, names, strict=True) if name]
    return ", ".join(told[:3]) + (", ..." if len(told) > 3 else "")
