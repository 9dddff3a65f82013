"""Scores by place: of each scene, zone or area of a split, or of each record where no groups are known.

They are written as a table and as GeoJSON (RFC 7946), which QGIS opens as a layer: the ground that the records of each
place cover, with its scores as attributes.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lcjax.ops import bootstrap, metrics
from lcjax.runs.record_confusions import RecordConfusions

_ABOUT = ("place", "kind", "records", "pixels", "west", "south", "east", "north")


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """The scores of one place.

    Attributes:
      name: of the group, or id of the record.
      kind: "group" or "record".
      records: how many it has.
      pixels: that were scored.
      boxes: (n, 4) west, south, east and north in degrees of its records, as far as they are known.
      scores: by name; empty where no pixel was scored.
    """

    name: str
    kind: str
    records: int
    pixels: int
    boxes: np.ndarray
    scores: dict[str, float]

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east and north of all its records; None where they are not known, or surround the Earth."""
        if not len(self.boxes):
            return None
        west, south, east, north = self.boxes.T
        width = (east - west) % 360
        # Measured from the first record, so that a place across the antimeridian is not as wide as the Earth.
        begin = (west - west[0] + 180) % 360 - 180
        if (whole := float((begin + width).max() - begin.min())) >= 360:
            return None
        left = float(((west[0] + begin.min()) + 180) % 360 - 180)
        right = left + whole
        right -= 360 if right > 180 else 0
        return round(left, 7), float(south.min()), round(right, 7), float(north.max())


def of_records(records: RecordConfusions, names: Sequence[str]) -> list[Place]:
    """Scores each place by its own confusion matrix.

    Args:
      records: of an evaluation.
      names: of the classes.
    """
    blocks = bootstrap.blocks(records.ids, records.groups)
    matrices, other = (blocks.sums(counts) for counts in (records.confusion, records.other))
    values = metrics.score_values(matrices, names, other)
    located = ~np.isnan(records.bounds).any(axis=1)
    order = np.argsort(blocks.of_record, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(blocks.of_record, minlength=len(blocks)))[:-1])
    return [
        Place(
            name=blocks.names[number],
            kind="group" if blocks.kind == "group" and records.groups[here[0]] else "record",
            records=len(here),
            pixels=int(matrices[number].sum() + other[number].sum()),
            boxes=records.bounds[here[located[here]]],
            scores={key: float(value[number]) for key, value in values.items() if not np.isnan(value[number])},
        )
        for number, here in enumerate(members)
    ]


def to_csv(places: Sequence[Place]) -> str:
    """Formats a line for each place; what is not known, or absent there, is empty."""
    keys = list(dict.fromkeys(key for place in places for key in place.scores))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_ABOUT, *keys])
    for place in places:
        bounds = map(repr, place.bounds) if place.bounds else ("",) * 4
        scores = (repr(place.scores[key]) if key in place.scores else "" for key in keys)
        writer.writerow([place.name, place.kind, place.records, place.pixels, *bounds, *scores])
    return text.getvalue()


def to_geojson(places: Sequence[Place]) -> str:
    """Formats a feature for each place whose ground is known; an absent class is null."""
    keys = list(dict.fromkeys(key for place in places for key in place.scores))
    features = [
        {
            "type": "Feature",
            "properties": {
                **{"place": place.name, "kind": place.kind, "records": place.records, "pixels": place.pixels},
                **{key: place.scores.get(key) for key in keys},
            },
            "geometry": _geometry(place.boxes),
        }
        for place in places
        if len(place.boxes)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def _geometry(boxes: np.ndarray) -> dict[str, Any]:
    """The boxes of records as a MultiPolygon; one across the antimeridian is cut there."""
    polygons = []
    for west, south, east, north in boxes.tolist():
        for left, right in [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]:
            polygons.append([[[left, south], [right, south], [right, north], [left, north], [left, south]]])
    return {"type": "MultiPolygon", "coordinates": polygons}
