"""The map of scores by place: alike for alike input, in one piece across the antimeridian, and at the poles."""

import io
import time

import numpy as np
from PIL import Image

from lcjax.plotting import places

FIJI = np.array([[179.9, -18, 180, -17.9], [180, -18, -179.9, -17.9], [-180, -18, -179.9, -17.9]])


def test_a_place_across_the_antimeridian_is_in_one_piece():
    whole = places.unwrapped(FIJI)
    np.testing.assert_allclose(whole[:, [0, 2]], [[179.9, 180], [180, 180.1], [180, 180.1]])


def test_a_map_is_a_picture_that_is_alike_for_alike_input():
    boxes = [FIJI, np.array([[10.0, 50, 10.1, 50.1]]), np.array([[10.2, 50, 10.3, 50.1]])]
    names = ["$fiji$", "<b>", "x" * 300]
    drawn = places.place_map(names, boxes, [0.2, 0.9, 0.9], "OA", "OA of a run")
    assert drawn == places.place_map(names, boxes, [0.2, 0.9, 0.9], "OA", "OA of a run")
    colours = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).reshape(-1, 3)
    assert (colours == (68, 1, 84)).all(axis=1).any()  # the darkest of viridis: the lowest score


def test_equal_scores_and_one_place_at_a_pole_are_drawn():
    assert places.place_map(["a"], [np.array([[-180.0, -90, 180, -80]])], [0.5], "OA", "").startswith(b"\x89PNG")


def test_names_that_would_lie_on_one_before_are_left_out():
    x, y = np.random.default_rng(0).uniform(0, 4, (2, 300))
    named: list[int] = []
    for place in range(300):
        if all(abs(x[place] - x[one]) >= 1 or abs(y[place] - y[one]) >= 1 for one in named):
            named.append(place)
    assert places.readable(x, y) == named and 4 < len(named) < 30


def test_thousands_of_places_are_drawn_at_once():
    west, south = np.random.default_rng(0).uniform(0, 10, (2, 4000))
    boxes = list(np.stack([west, south, west + 0.01, south + 0.01], axis=1)[:, None])
    begin = time.process_time()
    drawn = places.place_map(list(map(str, west)), boxes, list(south / 10), "OA", "")
    assert drawn.startswith(b"\x89PNG") and time.process_time() - begin < 10  # one by one: half a minute
