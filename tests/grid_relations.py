"""Grids in any relation to another one, and how far apart their corners are: numpy and no more."""

import numpy as np
from hypothesis import strategies as st
from rasterio import Affine


def joined(*steps: Affine) -> Affine:
    """One transform after the other; the operator for it is another one in each version of affine."""
    product = np.linalg.multi_dot([np.eye(3), *(np.array(step).reshape(3, 3) for step in steps)])
    return Affine(*product[:2].ravel())


RELATIONS = st.fixed_dictionaries(
    {
        "moved": st.tuples(*[st.sampled_from([0, 0, 0.2, -0.4, 0.45, 0.55, 1, -7, 350])] * 2),
        "flipped": st.tuples(*[st.sampled_from([1, 1, 1, -1])] * 2),
        "scaled": st.tuples(*[st.sampled_from([1, 1, 1, 1.002, 1.01, 2, 0.5])] * 2),
        "turned": st.sampled_from([0, 0, 0, 0.1, 1, 90]),
        "crs": st.sampled_from([32633, 32633, 32633, 32634, None]),
        "upright": st.booleans(),
        "size": st.tuples(*[st.integers(16, 400)] * 2),
    }
)


def related(relation: dict, like: Affine) -> tuple[Affine, int | None]:
    """The transform that stands in the relation to another one, and its EPSG code; flips keep the ground."""
    height, width = relation["size"]
    (across, down), (sx, sy) = relation["flipped"], relation["scaled"]
    flip = Affine(across, 0, width * (across < 0), 0, down, height * (down < 0))
    moved, turned = Affine.translation(*relation["moved"]), Affine.rotation(relation["turned"])
    return joined(like, moved, turned, flip, Affine.scale(sx, sy)), relation["crs"]


def farthest(one: Affine, like: Affine, height: int, width: int) -> float:
    """By how many pixels of `like` a corner is away, corner by corner with Cramer's rule."""
    apart = 0.0
    for column in (0, width):
        for row in (0, height):
            x, y = one.a * column + one.b * row + one.c, one.d * column + one.e * row + one.f
            dx, dy = x - like.c, y - like.f
            determinant = like.a * like.e - like.b * like.d
            at = (dx * like.e - dy * like.b) / determinant, (dy * like.a - dx * like.d) / determinant
            apart = max(apart, abs(at[0] - column), abs(at[1] - row))
    return apart
