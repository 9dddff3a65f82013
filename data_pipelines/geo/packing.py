"""Scale and offset as raster files state them: stored number * scale + offset is what was measured.

The rule, for own imagery: the numbers of a data set are those of most of its training images, and what these state of
them is remembered with the sensor. A file that states another scale or offset has its numbers converted; one that
states none where others do, or the other way round, cannot be compared with them and is refused.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.spec import Refused

Packing = tuple[tuple[float, float], ...]  # (scale, offset) of each band; empty where no band states any

_NONE = (1.0, 0.0)  # what GDAL gives of a band that states nothing
_SAME = 1e-6  # relative: scales that went through float32 are the same
TRAINING = "as in the images of the training"
REMEDY = "; if that is what its numbers are, write it in: `gdal_translate -a_scale {} -a_offset {} {} OUT.tif`"


def stated(path: pathlib.Path, dataset, indices: Sequence[int]) -> Packing:
    """The packing that an open rasterio dataset states of some bands (from 1). Raises Refused for one that is none."""
    found = tuple((float(dataset.scales[i - 1]), float(dataset.offsets[i - 1])) for i in indices)
    if not np.isfinite(found).all() or any(scale == 0 for scale, _ in found):
        raise Refused(path, f"{told(found)}; expected numbers, and a scale that is not 0")
    return () if all(band == _NONE for band in found) else found


def in_order(packing: Packing, order: Sequence[int]) -> Packing:
    """The packing of these bands of it, in this order."""
    return tuple(packing[k] for k in order) if packing else ()


def told(packing: Packing) -> str:
    """As a phrase: "scale 0.0001, offset -0.1", with the numbers of every band where they differ."""
    if not packing:
        return "no scale and no offset"
    scales, offsets = (
        ", ".join(f"{value:.7g}" for value in (values if len(set(values)) > 1 else values[:1]))
        for values in zip(*packing, strict=True)
    )
    return f"scale {scales}, offset {offsets}"


def are_same(packing: Packing, wanted: Packing) -> bool:
    """Whether numbers of one packing are those of another."""
    try:
        return conversion(pathlib.Path(), packing, wanted) is None
    except Refused:
        return False


def conversion(
    path: pathlib.Path, packing: Packing, wanted: Packing, like: str = TRAINING
) -> tuple[np.ndarray, np.ndarray] | None:
    """Gain and shift (bands,) that turn numbers of one packing into numbers of another; None where they are the same.

    Args:
      path: of the file, for the message.
      packing: what it states.
      wanted: what the other numbers state.
      like: whose numbers those are.

    Raises Refused where one of the two states something of a band and the other does not.
    """
    bands = max(len(packing), len(wanted))
    if not bands:
        return None
    mine, theirs = (np.array(one or (_NONE,) * bands, float) for one in (packing, wanted))
    lacking = (mine == _NONE).all(1) != (theirs == _NONE).all(1)
    if lacking.any():
        scale, offset = theirs[lacking.argmax()]
        remedy = REMEDY.format(f"{scale:.7g}", f"{offset:.7g}", path.name)
        raise Refused(path, f"{told(packing)}, expected {told(wanted)} {like}{remedy}")
    gain, shift = mine[:, 0] / theirs[:, 0], (mine[:, 1] - theirs[:, 1]) / theirs[:, 0]
    gain = np.where(np.abs(gain - 1) < _SAME, 1.0, gain)
    shift = np.where(np.abs(shift) < _SAME * np.maximum(np.abs(theirs[:, 1] / theirs[:, 0]), 1), 0.0, shift)
    return None if (gain == 1).all() and (shift == 0).all() else (gain, shift)


def converted(
    path: pathlib.Path, raw: np.ndarray, valid: np.ndarray, packing: Packing, wanted: Packing, dtype: str
) -> np.ndarray:
    """Numbers (bands, h, w) of one packing as numbers of another, in a dtype; integers are rounded.

    Raises Refused as `conversion` does, and where a number that is `valid` (h, w) is out of the range of the dtype.
    """
    how = conversion(path, packing, wanted)
    if how is None:
        return raw
    gain, shift = (values[:, None, None] for values in how)
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.where(valid, raw.astype(np.float64), 0) * gain + shift
    if not np.issubdtype(dtype, np.integer):
        return numbers.astype(dtype)
    numbers, limits = np.rint(numbers), np.iinfo(dtype)
    outside = (numbers < limits.min) | (numbers > limits.max)
    if (outside & valid).any():
        worst = numbers[outside & valid]
        worst = worst[np.abs(worst).argmax()]
        raise Refused(
            path,
            f"{told(packing)}: with {told(wanted)} {TRAINING} a number becomes {worst:.7g}, and {dtype} holds "
            f"{limits.min} to {limits.max}; write all images with one scale and offset that hold all numbers",
        )
    return numbers.clip(limits.min, limits.max).astype(dtype)
