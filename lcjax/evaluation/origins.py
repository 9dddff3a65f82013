"""Counts of records with where the records come from: their groups, and their places on the Earth."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.geo import geodesy
from data_pipelines.schema.on_disk import Origin
from data_pipelines.schema.spec import Extent
from lcjax.runs.record_confusions import RecordConfusions

_UNKNOWN = (np.nan,) * 4


def record_confusions(origins: Sequence[Origin], ids: Sequence[str], counts: dict[str, np.ndarray]) -> RecordConfusions:
    """Puts counts and origins of records together.

    Args:
      origins: of the records, in order.
      ids: of the records.
      counts: "confusion" (R, N, N) and "ignored" (R,), and "other" (R, N) where there is any.
    """
    confusion = np.asarray(counts["confusion"], np.uint32)
    return RecordConfusions(
        ids=np.array(ids, np.str_),
        groups=np.array([origin.group for origin in origins], np.str_),
        bounds=np.array([_bounds(origin.extent) for origin in origins], np.float64),
        confusion=confusion,
        other=np.asarray(counts.get("other", np.zeros(confusion.shape[:2])), np.uint32),
        ignored=np.asarray(counts["ignored"], np.uint32),
    )


def pixel_hectares(origins: Sequence[Origin], size: int) -> float:
    """Hectares of a pixel of tiles of `size` x `size` pixels: the median over records; NaN where none is known.

    A tile that reaches beyond its image covers less ground, and most do not.
    """
    known = [geodesy.hectares(origin.extent.crs, origin.extent.bounds) for origin in origins if origin.extent]
    areas = [area for area in known if area]
    return float(np.median(areas)) / size**2 if areas else np.nan


def _bounds(extent: Extent | None) -> tuple[float, ...]:
    return _UNKNOWN if extent is None else geodesy.degrees(extent.crs, extent.bounds) or _UNKNOWN
