"""A map as a STAC item (SpatioTemporal Asset Catalog 1.1.0): its place and time, what made it, and its files.

Extensions: projection 2.0.0, classification 2.0.0, raster 2.0.0, processing 1.2.0. Files are listed by relative names,
so that a folder of maps can be moved or uploaded unchanged. https://stacspec.org
"""

import dataclasses
import datetime
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.geo import geodesy, raster_io
from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.mapping import acquisition
from lcjax.mapping.map_writer import SETS
from lcjax.ops.reliability import PROBABILITY_SCALE
from lcjax.version import __version__

_log = logging.getLogger(__name__)

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
ASSETS = {  # key: (title, media type, roles)
    "data": ("Land cover", _COG, ["data"]),
    "confidence": ("Probability of the mapped class", _COG, ["data", "confidence"]),
    "probabilities": ("Probability of each class", _COG, ["data", "probabilities"]),
    "conformal": ("Sets of classes: their number, and a bit for each class", _COG, ["data"]),
    "mutual_information": ("Disagreement of the ensemble: mutual information, 1 at most", _COG, ["data"]),
    "scene": ("Number of the scene that a pixel is of", _COG, ["data"]),
    "scenes": ("The scenes by number, and how many pixels are of each", "text/csv", ["metadata"]),
    "polygons": ("Land cover as polygons", "application/geopackage+sqlite3", ["data"]),
    "preview": ("Scene and map", "image/png", ["thumbnail", "overview"]),
    "areas": ("Pixels and hectares of each class", "text/csv", ["metadata"]),
    "style": ("Style for QGIS", "application/xml", ["metadata", "style"]),
}


@dataclasses.dataclass(frozen=True)
class Georeference:
    """Where a map lies; without a CRS only its grid is known.

    Attributes:
      shape: (height, width) in pixels.
      transform: the six numbers a to f from (column, row) to the CRS.
      bbox: in longitude and latitude, from `geodesy.footprint`.
      geometry: GeoJSON in longitude and latitude, from `geodesy.footprint`.
      code: of the CRS, e.g. "EPSG:32633", from `geodesy.codes`.
      wkt2: of the CRS, from `geodesy.codes`.
    """

    shape: tuple[int, int]
    transform: Sequence[float]
    bbox: Sequence[float] | None = None
    geometry: Mapping[str, Any] | None = None
    code: str | None = None
    wkt2: str | None = None


def place_of(grid) -> Georeference:
    """Returns where an open rasterio dataset lies."""
    transform = tuple(grid.transform)[:6]
    if (crs := raster_io.crs_of(grid)) is None:
        return Georeference(grid.shape, transform)
    bbox, geometry = geodesy.footprint(crs, grid.transform, *grid.shape)
    code, wkt2 = geodesy.codes(crs)
    return Georeference(grid.shape, transform, bbox, geometry, code, wkt2)


def item(
    name: str,
    *,
    time: datetime.datetime,
    until: datetime.datetime | None = None,
    place: Georeference,
    legend: Legend,
    tags: Mapping[str, str],
    assets: Mapping[str, str],
) -> dict[str, Any]:
    """Makes the STAC item of a map, ready for JSON.

    Args:
      name: the item's id.
      time: of acquisition; without a time zone it is taken as UTC.
      until: the last of several times, of which `time` is the first; None where there is one.
      place: where the map lies.
      legend: names and colours of the ids.
      tags: of the map, e.g. LCJAX_MODEL, which becomes the property lcjax:model.
      assets: a key of `ASSETS` -> file name relative to the item.
    """
    extensions = ["projection/v2.0.0", "classification/v2.0.0", "processing/v1.2.0"]
    if {"confidence", "probabilities", "mutual_information"} & set(assets):
        extensions.append("raster/v2.0.0")
    first, last = _told(time), _told(until or time)
    properties: dict[str, Any] = {
        "title": f"Land cover {name}",
        "datetime": first if first == last else None,
        "proj:code": place.code,
        "proj:shape": list(place.shape),
        "proj:transform": [float(number) for number in place.transform],
        "processing:software": {"lcjax": __version__},
    }
    if first != last:
        properties |= {"start_datetime": first, "end_datetime": last}
    if place.wkt2 and not place.code:
        properties["proj:wkt2"] = place.wkt2
    properties |= {key.lower().replace("_", ":", 1): value for key, value in tags.items()}
    fields: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_EXTENSION.format(extension) for extension in extensions],
        "id": name,
        "geometry": place.geometry,
        "bbox": place.bbox and list(place.bbox),
        "properties": properties,
        "links": [],
        "assets": {key: _asset(key, href, legend) for key, href in assets.items()},
    }
    if place.geometry is None:
        del fields["bbox"]  # STAC wants either both or neither
    return fields


def _told(time: datetime.datetime) -> str:
    time = (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    return time.isoformat().replace("+00:00", "Z")


def acquired(tags: Mapping[str, str], name: str) -> datetime.datetime | None:
    """Returns when a scene was taken, as `acquisition.told` finds it, and logs what tells it."""
    told = acquisition.told(tags, name)
    if told is None:
        return None
    time, source = told
    shown = time.isoformat().replace("+00:00", "Z")
    if source in acquisition.FILE_TIMES:
        _log.warning(
            "%s: dated %s after its tag %s, the time at which the file was made, for nothing tells when the scene was "
            "taken; if that was another day, give it with --date=2020-08-23",
            *(name, shown, source),
        )
    else:
        by = "name" if source == acquisition.NAME else f"tag {source}"
        _log.info("%s: taken at %s, after its %s", name, shown, by)
    return time


def _asset(key: str, href: str, legend: Legend) -> dict[str, Any]:
    title, media, roles = ASSETS[key]
    asset: dict[str, Any] = {"href": href, "title": title, "type": media, "roles": roles}
    if media != _COG:
        return asset
    if key == "scene":
        return asset | {"data_type": "uint16", "nodata": 0xFFFF}
    if key == "conformal":
        bands = [{"name": name, "description": text} for name, text in zip(("size", "mask"), SETS, strict=True)]
        return asset | {"data_type": "uint32", "nodata": 0xFFFFFFFF, "bands": bands}
    asset |= {"data_type": "uint8", "nodata": legend.nodata if key == "data" else IGNORE}
    if key == "data":
        return asset | {"classification:classes": _classes(legend)}
    asset |= {"raster:scale": 1 / PROBABILITY_SCALE, "raster:offset": 0}
    if key == "probabilities":
        names = [entry["name"] for entry in _classes(legend)]
        asset["bands"] = [
            {"name": name, "description": f"probability of {c.name}"}
            for name, c in zip(names, legend.scored, strict=False)
        ]
    return asset


def _classes(legend: Legend) -> list[dict[str, Any]]:
    """Returns the classes, and no data last; STAC allows only ASCII letters, digits, - and _ in a `name`."""
    classes: list[dict[str, Any]] = []
    for c in legend.scored:
        plain = re.sub("[^0-9A-Za-z_-]+", "-", c.name).strip("-")
        if not plain or plain in {entry["name"] for entry in classes}:
            plain = f"class-{c.value}"
        classes.append({"value": c.value, "name": plain, "title": c.name, "color_hint": c.colour[1:].upper()})
    return [*classes, {"value": legend.nodata, "name": "no-data", "title": "no data", "nodata": True}]
