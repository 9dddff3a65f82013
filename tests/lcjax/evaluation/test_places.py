"""Scores by place: of each group by hand, places across the antimeridian, and a layer that GDAL reads."""

import csv
import io
import json

import numpy as np
import pytest

from lcjax.evaluation import places
from lcjax.ops import metrics
from lcjax.runs.record_confusions import RecordConfusions

NAMES = ["water", "forest"]
COUNTS = np.random.default_rng(0).integers(1, 90, (4, 2, 2)).astype(np.uint32)


def records(groups=("fiji", "fiji", "oslo", ""), bounds=None) -> RecordConfusions:
    here = [[179.5, -18, 179.9, -17], [179.9, -18, -179.7, -17], [10, 59, 11, 60], [np.nan] * 4]
    return RecordConfusions(
        ids=np.array(["p0", "p1", "p2", "p3"]),
        groups=np.array(groups),
        bounds=np.array(here if bounds is None else bounds),
        confusion=COUNTS.copy(),
        other=np.array([[0, 0], [0, 7], [0, 0], [0, 0]], np.uint32),
        ignored=np.zeros(4, np.uint32),
    )


def test_each_place_is_scored_by_its_own_matrix():
    found = {place.name: place for place in places.of_records(records(), NAMES)}
    assert list(found) == ["fiji", "oslo", "p3"]
    assert found["fiji"].scores == metrics.scores(COUNTS[:2].sum(0), NAMES, np.array([0, 7]))[0]
    assert found["p3"].scores == metrics.scores(COUNTS[3], NAMES)[0]
    assert (found["fiji"].records, found["fiji"].pixels) == (2, COUNTS[:2].sum() + 7)
    assert found["fiji"].bounds == pytest.approx((179.5, -18, -179.7, -17))
    assert found["oslo"].bounds == (10, 59, 11, 60) and found["p3"].bounds is None


def test_a_place_around_the_earth_has_no_bounds():
    (place,) = places.of_records(records(groups=["x"] * 4), NAMES)[:1]
    assert place.name == "p0"  # one group alone: each record is a place
    turn = [[-180, 0, -60, 1], [-60, 0, 60, 1], [60, 0, 180, 1], [10, 0, 11, 1]]
    assert places.of_records(records(("x", "x", "x", "y"), turn), NAMES)[0].bounds is None


def test_the_table_has_every_score_and_the_layer_every_place_that_is_known():
    found = places.of_records(records(), NAMES)
    rows = list(csv.DictReader(io.StringIO(places.to_csv(found))))
    assert [row["place"] for row in rows] == ["fiji", "oslo", "p3"] and rows[2]["west"] == ""
    assert float(rows[1]["IoU/water"]) == found[1].scores["IoU/water"]
    layer = json.loads(places.to_geojson(found))
    assert [feature["properties"]["place"] for feature in layer["features"]] == ["fiji", "oslo"]
    fiji, oslo = ([np.array(ring) for (ring,) in one["geometry"]["coordinates"]] for one in layer["features"])
    np.testing.assert_array_equal(oslo, [[[10, 59], [11, 59], [11, 60], [10, 60], [10, 59]]])
    # Two tiles of 0.4 degrees, the second cut in two at the antimeridian; the sign says counterclockwise.
    assert len(fiji) == 3 and [ring[:, 0].min() for ring in fiji] == [179.5, 179.9, -180]
    areas = [np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2 for x, y in (ring.T for ring in fiji)]
    assert areas == pytest.approx([0.4, 0.1, 0.3])
    assert layer["features"][1]["properties"]["OA"] == found[1].scores["OA"]


def test_a_place_without_a_scored_pixel_has_no_scores():
    empty = records()
    empty.confusion[3] = 0
    last = places.of_records(empty, NAMES)[-1]
    assert (last.pixels, last.scores) == (0, {})
    assert places.to_csv([last, *places.of_records(records(), NAMES)[:1]]).splitlines()[1] == "p3,record,1,0" + "," * 16
