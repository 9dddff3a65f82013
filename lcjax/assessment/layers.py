"""The map that is assessed and the strata of its sample, read strip by strip: maps of any size, never whole."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from data_pipelines.datasets.rasters import class_table
from data_pipelines.geo import geodesy, grids, raster_io
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import display, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, MOST_CLASSES, LandClass, Legend
from data_pipelines.schema.spec import Refused
from data_pipelines.schema.typed_json import LabelText, Name
from lcjax.mapping.areas import Areas

_STRIP = 2**23  # pixels that are looked at together
_ROWS = 512  # of a strip, at most: a row of blocks of our maps
_CLASSES_TAG, _LEGEND_TAG, _DATASET_TAG = "LCJAX_CLASSES", "LCJAX_LEGEND", "LCJAX_DATASET"
NOT_IN_STRATUM, NO_DATA, ON_TRAINING = "in no stratum", "without data", "on training tiles"

# (first row, end) of a map -> (rows, width) bool, the pixels that may not be drawn; None for none of them.
Excluded = Callable[[int, int], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Part:
    """A class of the map, or a stratum.

    Attributes:
      value: the number that the raster holds.
      name: of the class; of a stratum without a name "stratum 7".
      colour: "#rrggbb".
      pixels: that it has.
      area: hectares on the ground, or pixels where the map lies nowhere.
    """

    value: int
    name: str
    colour: str
    pixels: int
    area: float


@dataclasses.dataclass(frozen=True)
class Population:
    """What the sample is drawn from: the pixels that have a class and a stratum.

    Attributes:
      classes: of the map, in the order of its legend, also those without a pixel.
      strata: with pixels.
      in_strips: (strips, strata) pixels of each stratum in each strip.
      left_out: why -> pixels of the map that are no part of it.
      fingerprint: of the pixels of the map, its grid and its classes.
    """

    classes: tuple[Part, ...]
    strata: tuple[Part, ...]
    in_strips: np.ndarray
    left_out: dict[str, int]
    fingerprint: str


class Layers:
    """An open map and its strata.

    Attributes:
      path: of the map.
      legend: of the map; its `value`s are the numbers that `read` gives.
      strata: legend of the strata, that of the map where they are its classes.
      trained_on: the data set that the network of the map was trained on, as the map says; "" where it does not.
      crs: None where the map lies nowhere.
      transform: from (column, row) to the CRS.
    """

    def __init__(self, path: pathlib.Path, dataset: Any, legend: Legend, strata_path: pathlib.Path | None, strata: Any):
        """Takes over open datasets; `opened` makes one."""
        self.path, self.legend = path, legend
        self._map, self._strata_path, self._strata_map = dataset, strata_path, strata
        self.strata = legend if strata is None else _strata_legend(strata)
        self.trained_on: str = dataset.tags().get(_DATASET_TAG, "")[:200]
        self.crs: CRS | None = raster_io.crs_of(dataset)
        self.transform: Affine = dataset.transform
        self.height, self.width = dataset.shape
        self._rows = max(1, min(_ROWS, _STRIP // self.width))
        self._windows = list(raster_io.strips(dataset, rows=self._rows))

    @property
    def strips(self) -> int:
        """How many strips there are."""
        return len(self._windows)

    def top(self, strip: int) -> int:
        """First row of a strip."""
        return strip * self._rows

    def read(self, strip: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a strip.

        Returns:
          The map's class and the stratum of each pixel, (rows, width) uint8 each; `nodata` of their legends for none.

        Raises:
          InputError: the map holds a number that its legend does not name.
        """
        window = self._windows[strip]
        ids = _read(self.path, self._map, self.legend, window, self._rows * strip)
        if self._strata_map is None:
            return ids, ids
        assert self._strata_path is not None
        return ids, _read(self._strata_path, self._strata_map, self.strata, window, self._rows * strip)

    def population(self, excluded: Excluded) -> Population:
        """Counts the pixels of all strips.

        Args:
          excluded: tells the pixels that may not be drawn.

        Raises:
          InputError: as `read`, or the map and its strata have no pixel in common.
        """
        of_classes, of_strata = (
            Areas(legend, self.crs, self.transform, self.width) for legend in (self.legend, self.strata)
        )
        values = [one.value for one in self.strata.scored]
        in_strips = np.zeros((self.strips, len(values)), np.int64)
        left_out = dict.fromkeys((NO_DATA, NOT_IN_STRATUM, ON_TRAINING), 0)
        digest = self._digest()
        for strip in range(self.strips):
            ids, strata = self.read(strip)
            digest.update(ids.tobytes())
            ids, strata, reasons = self._masked(strip, ids, strata, excluded)
            for why, pixels in reasons.items():
                left_out[why] += pixels
            in_strips[strip] = np.bincount(strata.ravel(), minlength=256)[values]
            of_classes.add(self.top(strip), ids)
            if strata is not ids:
                of_strata.add(self.top(strip), strata)
        classes = _parts(self.legend, of_classes)
        strata_parts = classes if self._strata_map is None else _parts(self.strata, of_strata)
        there = [part.pixels > 0 for part in strata_parts]
        if not any(there):
            told = ", ".join(f"{pixels:,} {why}" for why, pixels in left_out.items() if pixels)
            raise InputError(f"{self.path}: no pixel to draw from ({told}); expected pixels with a class and a stratum")
        return Population(
            classes,
            tuple(part for part in strata_parts if part.pixels),
            in_strips[:, there],
            {why: pixels for why, pixels in left_out.items() if pixels},
            digest.hexdigest()[:32],
        )

    def fingerprint(self) -> str:
        """A hash of the pixels of the map, its grid and its classes; that of `Population` without counting."""
        digest = self._digest()
        for strip in range(self.strips):
            window = self._windows[strip]
            digest.update(_read(self.path, self._map, self.legend, window, self.top(strip)).tobytes())
        return digest.hexdigest()[:32]

    def _digest(self) -> Any:
        names = [(one.value, one.name) for one in self.legend.scored]
        place = geodesy.codes(self.crs)[0] or self.crs.to_wkt() if self.crs else None
        return hashlib.sha256(json.dumps([self.height, self.width, *self.transform, place, names]).encode())

    def drawable(self, strip: int, excluded: Excluded) -> tuple[np.ndarray, np.ndarray]:
        """Reads a strip as `read` does, with `nodata` in both where a pixel may not be drawn."""
        ids, strata, _ = self._masked(strip, *self.read(strip), excluded)
        return ids, strata

    def _masked(
        self, strip: int, ids: np.ndarray, strata: np.ndarray, excluded: Excluded
    ) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """Returns class and stratum with `nodata` where no pixel may be drawn, and why -> pixels."""
        top = self.top(strip)
        masked = excluded(top, top + len(ids))
        mapped, placed = ids != self.legend.nodata, strata != self.strata.nodata
        kept = mapped & placed
        reasons = {NO_DATA: ~mapped, NOT_IN_STRATUM: mapped & ~placed}
        if masked is not None:
            reasons[ON_TRAINING] = kept & masked
            kept = kept & ~masked
        found = np.where(kept, ids, np.uint8(self.legend.nodata))
        of_strata = found if strata is ids else np.where(kept, strata, np.uint8(self.strata.nodata))
        return found, of_strata, {why: int(pixels.sum()) for why, pixels in reasons.items()}


@contextlib.contextmanager
def opened(
    path: pathlib.Path, legend_csv: pathlib.Path | None = None, strata_path: pathlib.Path | None = None
) -> Iterator[Layers]:
    """Opens a map, and a raster of strata on its grid, for the time of the context.

    Args:
      path: of the map.
      legend_csv: id, name and colour of its classes; None takes what `lcjax predict` wrote into the map.
      strata_path: a raster whose numbers are the strata; None takes the classes of the map.

    Raises:
      InputError: a file cannot be read, is no raster of classes, the map has no legend, or the grids differ.
    """
    with contextlib.ExitStack() as stack:
        dataset = stack.enter_context(_opened(path, "--map", "a map of class ids"))
        legend = class_table.read(legend_csv, "map").legend if legend_csv else _legend_of(path, dataset)
        strata = None
        if strata_path is not None:
            strata = stack.enter_context(_opened(strata_path, "--strata", "a raster of strata"))
            if found := grids.difference(Grid.of(strata), Grid.of(dataset), str(path)):
                raise InputError(f"--strata={strata_path}: {found}; expected strata on the grid of the map")
        yield Layers(path, dataset, legend, strata_path, strata)


def _opened(path: pathlib.Path, flag: str, expected: str) -> Any:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{flag}={path}: {what}; expected {expected}")
    try:
        dataset = raster_io.opened(path)
    except Refused as refusal:
        raise InputError(f"{flag}={path}: {refusal.reason}") from refusal
    kinds = [dataset.dtypes[band - 1] for band in raster_io.image_bands(dataset)]
    if len(kinds) != 1 or np.dtype(kinds[0]).kind not in "iu":
        dataset.close()
        raise InputError(
            f"{flag}={path}: {len(kinds)} bands of {', '.join(sorted(set(kinds)))}; expected {expected}, one band of "
            "whole numbers"
        )
    if dataset.transform.is_degenerate:
        dataset.close()
        raise InputError(f"{flag}={path}: its transform gives pixels no area; expected {expected}; write it anew")
    return dataset


def _legend_of(path: pathlib.Path, dataset: Any) -> Legend:
    tags = dataset.tags()
    if _CLASSES_TAG not in tags:
        raise InputError(
            f"--map={path}: has no legend (the tag {_CLASSES_TAG}, which `lcjax predict` writes); expected one, or "
            "--legend=CSV with the columns id,name,colour"
        )
    where, again = f"{path}: {_CLASSES_TAG}", "map the scene again, or give --legend=CSV"
    names = typed_json.convert(typed_json.parse(tags[_CLASSES_TAG], where, again), dict[LabelText, Name], where, again)
    try:
        colours = dataset.colormap(1)
    except ValueError:  # it has none
        colours = {}
    spare = display.distinct_colours(len(names))
    shown = {
        int(value): "#{:02x}{:02x}{:02x}".format(*colours[int(value)][:3]) if int(value) in colours else spare[at]
        for at, value in enumerate(names)
    }
    try:
        return _legend_from(tags.get(_LEGEND_TAG, "map"), {int(v): n for v, n in names.items()}, shown)
    except InputError as error:
        raise InputError(f"{where}: {error}; {again}") from error


def _strata_legend(dataset: Any) -> Legend:
    """Returns a legend of every number that strata can have but one, which stands for none."""
    tags, last = dataset.tags(1), _nodata_of(dataset)
    values = [value for value in range(256) if value != last]
    named = {value: tags.get(f"CLASS_{value}", "")[:180] for value in values}
    twice = len(set(filter(None, named.values()))) < len(list(filter(None, named.values())))
    names = {value: f"stratum {value}" if twice or not name else name for value, name in named.items()}
    return _legend_from("strata", names, dict(zip(values, display.distinct_colours(len(values)), strict=True)))


def _nodata_of(dataset: Any) -> int:
    nodata = dataset.nodata
    return int(nodata) if nodata is not None and 0 <= nodata <= IGNORE else IGNORE


def _legend_from(name: str, names: dict[int, str], colours: dict[int, str]) -> Legend:
    """Makes a legend of numbers in the map; a class that is written as 255 gets an id that is free."""
    if len(names) > MOST_CLASSES:
        raise InputError(f"{name}: {len(names)} classes; expected at most {MOST_CLASSES}")
    free = next(number for number in range(IGNORE) if number not in names) if IGNORE in names else 0
    return Legend(
        name,
        tuple(
            LandClass(free, one, colours[value], value) if value == IGNORE else LandClass(value, one, colours[value])
            for value, one in names.items()
        ),
    )


def _read(path: pathlib.Path, dataset: Any, legend: Legend, window: Any, top: int) -> np.ndarray:
    """Reads a window as numbers of the legend: (rows, width) uint8, `nodata` where the raster has none."""
    known = np.zeros(256, bool)  # as a class, or as one that the legend ignores
    known[[one.value for one in legend.classes]] = True
    read_as = np.full(256, legend.nodata, np.uint8)
    read_as[[one.value for one in legend.scored]] = [one.value for one in legend.scored]
    (band,) = raster_io.image_bands(dataset)
    raw, valid = raster_io.read_valid(dataset, [band], window, False)
    is_byte = (raw[0] >= 0) & (raw[0] <= IGNORE)
    ids = np.where(is_byte, raw[0], 0).astype(np.uint8)
    strange = valid & ~(is_byte & known[ids])
    if strange.any():
        row, column = np.argwhere(strange)[0].tolist()
        raise InputError(
            f"{path}: holds {raw[0, row, column]} at column {column}, row {top + row}, which its legend does not name; "
            f"expected one of {', '.join(str(one.value) for one in legend.scored[:20])}"
        )
    return np.where(valid, read_as[ids], np.uint8(legend.nodata))


def _parts(legend: Legend, counted: Areas) -> tuple[Part, ...]:
    rows = {row["id"]: row for row in counted.rows()[:-1]}
    return tuple(
        Part(
            one.value,
            one.name,
            one.colour,
            rows[one.value]["pixels"],
            float(rows[one.value]["pixels"] if rows[one.value]["hectares"] is None else rows[one.value]["hectares"]),
        )
        for one in legend.scored
    )
