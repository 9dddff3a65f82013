"""Cut polygons hold the same places of a box: against the letter of the rule, edge by edge."""

import itertools

import numpy as np
import shapes

from data_pipelines.geo.geometry import clipping, wkb
from data_pipelines.geo.geometry.shapes import Shapes, offsets

BOXES = [(np.array([10.0, 5.0]), np.array([40.0, 30.0])), (np.array([60.0, 5.0]), np.array([70.0, 30.0]))]


def made(rings, counts, kinds) -> Shapes:
    lengths = np.array([len(ring) for ring in rings])
    return Shapes(
        np.concatenate(rings), offsets(lengths), offsets(np.array(counts)), np.array(kinds), np.arange(len(counts))
    )


def test_a_box_holds_what_it_held():
    rng = np.random.default_rng(0)
    rings = [rng.normal((35, 20), 40, (size, 2)) for size in (5, 40, 7, 200)]  # open, with edges that cross
    rings[1] = np.vstack([rings[1], rings[1][:1]])
    cut = clipping.clipped(made(rings, [1, 2, 1], [wkb.POLYGON] * 3), BOXES)
    assert set(cut.owners.tolist()) == {0, 1, 2} and (np.diff(cut.owners) >= 0).all()
    for low, high in BOXES:
        x, y = rng.uniform(low, high, (400, 2)).T
        for owner, own in enumerate(([0], [1, 2], [3])):
            expected = np.zeros(400, bool)
            for ring in (rings[k] for k in own):
                expected ^= shapes.inside(np.vstack([ring, ring[:1]]), x, y)
            found = np.zeros(400, bool)
            for part in np.flatnonzero(cut.owners == owner):
                inside = [shapes.inside(cut.ring(k), x, y) for k in range(cut.parts[part], cut.parts[part + 1])]
                found |= np.logical_xor.reduce(inside)
            np.testing.assert_array_equal(found, expected)
    for first, end in itertools.pairwise(cut.rings):
        points = cut.points[first:end]
        assert any((points >= low).all() and (points <= high).all() for low, high in BOXES)


def test_what_lies_in_a_box_and_lines_and_points_stay():
    whole = made(
        [np.array(BOXES[0]), np.array([[0.0, 0], [99, 99]]), np.array([[50.0, 0]])],
        [1] * 3,
        [wkb.POLYGON, wkb.LINE, wkb.POINT],
    )
    kinds = [wkb.POLYGON, wkb.LINE, wkb.POINT]
    whole = Shapes(whole.points, whole.rings, whole.parts, np.array(kinds), whole.owners)
    assert clipping.clipped(whole, BOXES) is whole
    far = np.array([[-50.0, -50], [0, -50], [0, 0]])
    more = made([whole.ring(0), whole.ring(1), far, whole.ring(2)], [1] * 4, [*kinds[:2], wkb.POLYGON, wkb.POINT])
    cut = clipping.clipped(more, BOXES)
    assert cut.owners.tolist() == [0, 1, 3] and cut.kinds.tolist() == kinds
    np.testing.assert_array_equal(cut.points, whole.points)
