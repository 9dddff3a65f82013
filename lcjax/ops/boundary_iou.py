"""Boundary IoU: the IoU of the pixels near the contours of a class, in truth and in prediction.

Cheng, Girshick, Dollar, Berg, Kirillov (2021), "Boundary IoU: improving object-centric image segmentation evaluation",
CVPR. Near are pixels of a class from which a pixel of another class lies within a distance, counted in steps to one of
the eight neighbours, as in the authors' definition by erosions. Two things differ, because tiles are cut out of a map
and not all of it is labelled: the edge of a tile is no contour, and neither is that of an area without labels.
"""

import math
import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import metrics
from lcjax.ops.boundaries import near_boundaries

_FORM = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)(%|px)", re.ASCII)


def read_distance(text: str) -> tuple[float, str]:
    """Reads a distance: (2.0, "%") of "2%", a share of the diagonal of a tile, or (3.0, "px") of "3px".

    Raises:
      InputError: it is none of these.
    """
    form = _FORM.fullmatch(text.strip())
    value = float(form[1]) if form else 0.0
    if not form or not value or (form[2] == "px" and value != int(value)):
        raise InputError(f'--boundary={text}: expected a share of the diagonal of a tile, as "2%", or pixels, as "3px"')
    return value, form[2]


def distance_in_pixels(text: str, height: int, width: int) -> int:
    """Reads a distance in pixels of tiles of this size: one pixel at least.

    Raises:
      InputError: it is none, or reaches across half of a tile.
    """
    value, unit = read_distance(text)
    pixels = max(1, round(value / 100 * math.hypot(height, width))) if unit == "%" else int(value)
    if 2 * pixels >= min(height, width):
        raise InputError(
            f"--boundary={text}: {pixels} pixels, in tiles of {height} x {width}; expected less than half of a tile"
        )
    return pixels


def counts_of_each(labels_BxHxW: jax.Array, predictions_BxHxW: jax.Array, classes: int, distance: int) -> jax.Array:
    """Counts pixels near contours, of each example and class.

    Args:
      labels_BxHxW: class indices; IGNORE where nothing is scored.
      predictions_BxHxW: class indices.
      classes: number of classes.
      distance: of near pixels to the contour, in pixels.

    Returns:
      (B, classes, 3) int32: near in truth and prediction, both of the class; near in truth; near in prediction.
    """
    of_truth = near_boundaries(labels_BxHxW, distance)
    of_prediction = near_boundaries(jnp.where(labels_BxHxW != IGNORE, predictions_BxHxW, IGNORE), distance)

    def count(where: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
        return metrics.confusion_of_each(jnp.where(where, rows, IGNORE).astype(jnp.uint8), columns, classes)

    both = count(of_truth & of_prediction, labels_BxHxW, predictions_BxHxW)
    truth = count(of_truth, labels_BxHxW, predictions_BxHxW).sum(axis=2)
    prediction = count(of_prediction, predictions_BxHxW, predictions_BxHxW).sum(axis=2)
    return jnp.stack([jnp.diagonal(both, axis1=1, axis2=2), truth, prediction], axis=-1)


def score_values(counts: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Computes the scores of counts of many draws.

    Args:
      counts: (..., N, 3), sums of `counts_of_each`.
      names: the N classes.

    Returns:
      "boundary_mIoU_N" and "boundary_IoU/<class>" -> (...) float64; NaN where a class has no contour in truth and
      prediction, which leaves it out of the mean.
    """
    both, truth, prediction = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    union = truth + prediction - both
    present = union > 0
    values = both / np.maximum(union, 1)
    result = {f"boundary_mIoU_{len(names)}": metrics.mean_of_present(values, present)}
    return result | {
        f"boundary_IoU/{name}": np.where(present[..., i], values[..., i], np.nan) for i, name in enumerate(names)
    }
