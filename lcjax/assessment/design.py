"""design.json: what a sample was drawn from, and what the map says at each point. Interpreters do not open it."""

import dataclasses
import pathlib
from typing import Annotated, Any

import msgspec

from data_pipelines.geo import geodesy
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Colour, Count, LabelId, Name, Ordinal, Real

FILE = "design.json"
_VERSION = 1
_REMEDY = "put back what `lcjax assess --sample` wrote"
Area = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


@dataclasses.dataclass(frozen=True)
class Class:
    """A class of the map: see `layers.Part`."""

    value: LabelId
    name: Name
    colour: Colour
    pixels: Count
    area: Area


@dataclasses.dataclass(frozen=True)
class Stratum:
    """A stratum with pixels: see `layers.Part`; and how many points were drawn from it."""

    value: LabelId
    name: Name
    pixels: Ordinal
    area: Area
    points: Count


@dataclasses.dataclass(frozen=True)
class MapFile:
    """The map that was sampled.

    Attributes:
      path: where it lay.
      fingerprint: see `layers.Population`.
      bytes: size of the file; with its time it tells that it was not changed.
      changed: time of its last change in ns.
      crs: a code or WKT; "" where it lies nowhere.
      height, width: in pixels.
      transform: from (column, row) to the CRS, the first six numbers of the matrix.
    """

    path: str
    fingerprint: str
    bytes: Count
    changed: int
    crs: str
    height: Ordinal
    width: Ordinal
    transform: tuple[Real, Real, Real, Real, Real, Real]

    @property
    def parsed_crs(self) -> CRS | None:
        """The CRS; None where the map has none."""
        return geodesy.crs_from(self.crs) if self.crs else None


@dataclasses.dataclass(frozen=True)
class Point:
    """A drawn pixel.

    Attributes:
      point: its number, from 1.
      row, column: in the map.
      x, y: its centre, in the CRS of the map.
      mapped: the number that the map has there.
      stratum: the number of its stratum.
      area: on the ground, in the unit of the design.
    """

    point: Ordinal
    row: Count
    column: Count
    x: Real
    y: Real
    mapped: LabelId
    stratum: LabelId
    area: Area


@dataclasses.dataclass(frozen=True)
class Design:
    """A sample.

    Attributes:
      map: that it was drawn from.
      strata_path: the raster of strata; "" where they are the classes of the map.
      unit: of areas: "hectares" on the ground, or "pixels" where the map lies nowhere.
      asked: the options of the command, from which the same sample can be drawn again.
      classes: of the map.
      strata: that have pixels.
      left_out: why -> pixels of the map that no point could be drawn from.
      training: what was said of the data that the network was trained on.
      points: in the order of their numbers.
    """

    map: MapFile
    strata_path: str
    unit: str
    asked: dict[str, Any]
    classes: tuple[Class, ...]
    strata: tuple[Stratum, ...]
    left_out: dict[str, Count]
    training: str
    points: tuple[Point, ...]

    @property
    def area(self) -> float:
        """Of all strata together."""
        return sum(stratum.area for stratum in self.strata)

    def write(self, path: pathlib.Path) -> None:
        """Writes it, completely or not at all."""
        schema_version.write_json(path, dataclasses.asdict(self), _VERSION)


def read(path: pathlib.Path) -> Design:
    """Reads what `Design.write` wrote.

    Raises:
      InputError: there is none, it is damaged, or its parts do not agree.
    """
    found = schema_version.read_json(path, Design, _VERSION, _REMEDY)
    try:
        _ = found.map.parsed_crs
    except ValueError as error:  # rasterio's CRSError
        raise InputError(f"{path}: map.crs: found {found.map.crs[:60]!r}, which is no CRS; {_REMEDY}") from error
    if Affine(*found.map.transform).is_degenerate:
        raise InputError(f"{path}: map.transform: its pixels have no area; {_REMEDY}")
    classes = {one.value for one in found.classes}
    strata = {one.value: one.points for one in found.strata}
    drawn = dict.fromkeys(strata, 0)
    for place, point in enumerate(found.points, 1):
        if point.point != place or point.mapped not in classes or point.stratum not in strata or point.area <= 0:
            raise InputError(f"{path}: points[{place - 1}]: not one of its classes and strata; {_REMEDY}")
        drawn[point.stratum] += 1
    if drawn != strata or any(one.points > one.pixels or one.area <= 0 for one in found.strata):
        raise InputError(f"{path}: strata: do not have the points that are listed; {_REMEDY}")
    return found
