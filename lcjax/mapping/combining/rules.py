"""Which scene a pixel of a mosaic is taken from, where several have data there."""

import datetime
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from lcjax.mapping.combining.places import Source

NEWEST, CONFIDENCE = RULES = ("newest", "confidence")
NONE = 65_535  # the number of pixels of no scene
MOST = NONE - 1  # scenes
_LONG_AGO = datetime.datetime.min.replace(tzinfo=datetime.UTC)


def check(rule: str, sources: Sequence[Source]) -> None:
    """Raises InputError for too many scenes, or where the date of one is needed and not known."""
    if len(sources) > MOST:
        raise InputError(f"--mosaic: {len(sources):,} scenes; expected at most {MOST:,}; make several mosaics")
    undated = next((source for source in sources if source.time is None), None)
    if rule == NEWEST and undated and len(sources) > 1:
        raise InputError(
            f"{undated.called}: neither tags nor name tell when it was taken, and --mosaic={NEWEST} asks for it; give "
            f"a list with a column date, or --mosaic={CONFIDENCE}"
        )


def order(sources: Sequence[Source]) -> list[int]:
    """Returns the scenes from the newest to the oldest; of one date, or without one, as they are listed."""
    return sorted(range(len(sources)), key=lambda k: sources[k].time or _LONG_AGO, reverse=True)


class Merged:
    """Rows of a mosaic that are put together of those of its scenes, which come from the newest to the oldest.

    By "newest" a pixel is of the first scene that has data there; by "confidence" of the one whose confidence is
    largest, in the steps in which it is stored, and of equal ones the first.

    Attributes:
      planes: (rows, planes, width) uint8 of all products.
    """

    def __init__(
        self, rule: str, empty: np.ndarray, rows: int, width: int, places: Mapping[str, slice], legend: Legend
    ):
        """Begins with no data.

        Args:
          rule: one of `RULES`.
          empty: what the planes of a pixel without data hold, (planes,) uint8.
          rows, width: of these rows.
          places: where the planes of each product lie, those of "scene" last.
          legend: of the map.
        """
        self.planes = np.broadcast_to(empty[:, None], (rows, len(empty), width)).copy()
        self._places, self._legend = places, legend
        self._better: Callable[[np.ndarray, np.ndarray], np.ndarray] = {
            NEWEST: lambda ours, theirs: np.zeros(ours[:, 0].shape, bool),
            CONFIDENCE: lambda ours, theirs: (
                theirs[:, places["confidence"].start] > ours[:, places["confidence"].start]
            ),
        }[rule]

    def add(self, number: int, top: int, left: int, rows: np.ndarray) -> None:
        """Puts rows of a scene in, where the rule says so.

        Args:
          number: of the scene, from 1.
          top, left: of their first pixel in these rows.
          rows: (rows, planes, width) uint8, without the planes of "scene".
        """
        height, width = rows.shape[0], rows.shape[2]
        ours = self.planes[top : top + height, :, left : left + width]
        nodata = self._legend.nodata
        free = ours[:, 0] == nodata
        taken = (rows[:, 0] != nodata) & (free | self._better(ours, rows))
        told = np.array([number & 0xFF, number >> 8], np.uint8)
        scene = np.broadcast_to(told[:, None], (height, 2, width))
        np.copyto(ours, np.concatenate([rows, scene], axis=1), where=taken[:, None])
