"""A map as polygons: a GeoPackage of its areas, with class, name and hectares, in the colours of the legend."""

import itertools
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_pipelines.geo import geodesy, geopackage
from data_pipelines.geo.geodesy import CRS, HECTARE, Affine
from data_pipelines.geo.geometry import outlines
from data_pipelines.geo.geometry.outlines import Areas
from data_pipelines.geo.geopackage import Value
from data_pipelines.schema.legends import Legend
from lcjax.mapping import qgis_styles

_log = logging.getLogger(__name__)

LAYER = "landcover"
CLASS, NAME, HECTARES, PIXELS = "class", "name", "hectares", "pixels"
_SPECK = 4  # pixels: smaller areas are told of
_MANY = 0.5  # share of the areas that are so small


def write(path: pathlib.Path, classes: pathlib.Path, legend: Legend, crs: CRS | None, transform: Affine) -> int:
    """Writes the areas of a map as polygons, and returns how many they are.

    Args:
      path: of the GeoPackage.
      classes: the map.
      legend: its classes.
      crs: of the map; without one the polygons lie nowhere, and have no hectares.
      transform: from columns and rows to the CRS.

    Raises:
      InputError: pyogrio is not installed.
      OSError: the file cannot be written, or does not hold what was written.
      Refused: the map cannot be read.
    """
    names = {land_class.value: land_class.name for land_class in legend.scored}
    specks = 0

    def parts() -> Iterator[tuple[Mapping[str, Sequence[Value]], list[bytes]]]:
        nonlocal specks
        areas = None
        for areas in outlines.areas(classes, legend.nodata):
            specks += int((areas.pixels < _SPECK).sum())
            hectares: list[Value] = [None] * len(areas.values)
            if crs is not None and geodesy.is_earthly(crs):
                ground = outlines.square_metres(areas.exact, crs, transform) / HECTARE
                hectares = [round(number, 6) if np.isfinite(number) else None for number in ground.tolist()]
            values = areas.values.tolist()
            yield (
                _columns(values, [names[value] for value in values], hectares, areas.pixels.tolist()),
                _geometries(areas, transform),
            )
        if areas is None:
            yield _columns([], [], [], []), []  # a layer, also of a map without a class

    known = None if crs is None else geodesy.codes(crs)
    count = geopackage.write_parts(
        path, LAYER, parts(), "Polygon", known and (known[0] or known[1]), qgis_styles.polygon_qml(legend, CLASS)
    )
    if specks > _MANY * count:
        _log.info(
            "%s: %d of %d polygons are of fewer than %d pixels; --sieve=%d gives them to their neighbours",
            *(path.name, specks, count, _SPECK, _SPECK),
        )
    return count


def _columns(
    values: Sequence[Value], names: Sequence[Value], hectares: Sequence[Value], pixels: Sequence[Value]
) -> dict[str, Sequence[Value]]:
    return {CLASS: values, NAME: names, HECTARES: hectares, PIXELS: pixels}


def _geometries(areas: Areas, transform: Affine) -> list[bytes]:
    """The smoothed outlines in the CRS of the map, as WKB."""
    shapes = areas.smooth
    points = np.stack(geodesy.positions(transform, shapes.points[:, 0], shapes.points[:, 1]), axis=1)
    rings = [points[np.append(np.arange(a, b), a)] for a, b in itertools.pairwise(shapes.rings)]
    return [geopackage.polygon(*rings[a:b]) for a, b in itertools.pairwise(shapes.parts)]
