"""Well-known binary: what the standard and its older dialect write is taken apart, and damage is named."""

import struct

import numpy as np
import pytest

from data_pipelines.geo import geopackage
from data_pipelines.geo.geometry import wkb

RING = np.array([(0.0, 0), (4, 0), (4, 4), (0, 0)])
HOLE = np.array([(1.0, 0.5), (2, 0.5), (2, 1), (1, 0.5)])
POLYGON = geopackage.polygon(RING, HOLE)


def collection(kind, *members, order="<"):
    return struct.pack(f"{order}BII", order == "<", kind, len(members)) + b"".join(members)


def test_polygons_lines_and_points():
    ((kind, rings),) = wkb.parts_of(POLYGON)
    assert kind == wkb.POLYGON
    np.testing.assert_array_equal(rings[0], RING)
    np.testing.assert_array_equal(rings[1], HOLE)
    ((kind, (line,)),) = wkb.parts_of(struct.pack("<BII", 1, 2, 4) + RING.tobytes())
    assert kind == wkb.LINE and (line == RING).all()
    ((kind, (point,)),) = wkb.parts_of(geopackage.point(3, -4))
    assert kind == wkb.POINT and point.tolist() == [[3, -4]]


@pytest.mark.parametrize(("kind", "member"), [(6, POLYGON), (4, geopackage.point(1, 2)), (7, POLYGON)])
def test_collections_are_their_members(kind, member):
    parts = wkb.parts_of(collection(kind, member, collection(7, member), member))
    assert [part[0] for part in parts] == [wkb.parts_of(member)[0][0]] * 3


@pytest.mark.parametrize("head", [1001, 2001, 0x80000001, 0x40000001], ids=["z", "m", "ewkb z", "ewkb m"])
def test_heights_are_left_out(head):
    assert wkb.parts_of(struct.pack("<BIddd", 1, head, 1, 2, 9))[0][1][0].tolist() == [[1, 2]]


def test_other_order_of_bytes_and_a_number_of_the_crs():
    big = struct.pack(">BIII", 0, 3, 1, 4) + RING.astype(">f8").tobytes()
    np.testing.assert_array_equal(wkb.parts_of(collection(6, big, order=">"))[0][1][0], RING)
    assert wkb.parts_of(struct.pack("<BIIdd", 1, 0x20000001, 4326, 1, 2))[0][1][0].tolist() == [[1, 2]]


def test_what_is_empty_has_no_parts():
    nothing = struct.pack("<BII", 1, 3, 0)
    assert wkb.parts_of(nothing) == wkb.parts_of(geopackage.point(np.nan, np.nan)) == wkb.parts_of(collection(6)) == []


@pytest.mark.parametrize("length", [*range(0, 13), 60, len(POLYGON) - 1])
def test_what_ends_in_the_middle_is_damaged(length):
    with pytest.raises(ValueError, match="ends in the middle"):
        wkb.parts_of(POLYGON[:length])


def test_counts_that_lie_and_curves_are_named():
    with pytest.raises(ValueError, match="ends in the middle"):
        wkb.parts_of(struct.pack("<BII", 1, 2, 4_000_000_000))
    with pytest.raises(ValueError, match="a polygon of curves"):
        wkb.parts_of(struct.pack("<BII", 1, 10, 0))
    deep = POLYGON
    for _ in range(20):
        deep = collection(7, deep)
    with pytest.raises(ValueError, match="of the kind 7"):
        wkb.parts_of(deep)
