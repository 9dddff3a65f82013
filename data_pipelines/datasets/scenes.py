"""Scenes of DFC2020, whose file names know only one: patches that hang together on the ground."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.spec import Place

REACH = 20_000.0  # metres; patches lie 2,560 m apart in a scene, with gaps, and scenes lie on different continents


def group(places: Sequence[Place], reach: float = REACH) -> list[list[int]]:
    """Parts places into scenes: those of one CRS that a chain with links shorter than `reach` metres connects.

    Returns the positions (in `places`) of each scene's members, ascending, and scenes in the order of their first one.
    """
    zone = np.array([place.epsg for place in places])
    x, y = (np.array([getattr(place, axis) for place in places]) for axis in ("x", "y"))
    free = np.ones(len(places), bool)
    scenes = []
    for first in range(len(places)):
        if not free[first]:
            continue
        free[first] = False
        members = [first]
        for at in members:  # which grows while it is walked
            near = free & (zone == zone[at]) & (np.hypot(x - x[at], y - y[at]) < reach)
            free[near] = False
            members.extend(np.flatnonzero(near).tolist())
        scenes.append(sorted(members))
    return scenes


def choose(sizes: Sequence[int], share: float) -> tuple[int, ...]:
    """Which scenes hold together the share of all records that is nearest to `share`: some, and not all of them.

    Every reachable number of records is tried, with the scenes that reach it first; of two that are equally near the
    smaller one wins. Returns positions in `sizes`, ascending; raises ValueError for fewer than two scenes.
    """
    if len(sizes) < 2:
        raise ValueError(f"{len(sizes)} scenes, expected 2 or more")
    total = sum(sizes)
    reached: dict[int, tuple[int, ...]] = {0: ()}
    for scene, size in enumerate(sizes):
        for count, scenes in list(reached.items()):
            reached.setdefault(count + size, (*scenes, scene))
    return min((abs(count - share * total), count, reached[count]) for count in reached if 0 < count < total)[2]
