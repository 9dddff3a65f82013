"""Takes small regions out of a map: those of fewer pixels than a user wants to see get a class that is beside them.

A region is what hangs together by the sides of pixels and has one class. One that is too small takes the class of its
largest neighbour, or where that is too small itself of that one's, and so on; where none is large enough, as of an
island in no data, it stays. This is the sieve of
GDAL (`gdal_sieve.py -4`), over the whole map at once: what it needs of memory grows with the number of regions. The
rows themselves stay on disk.
"""

from collections.abc import Callable, Sequence

import numpy as np
import rasterio.features

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.mapping.drafts import Draft
from lcjax.mapping.map_writer import Product, planes_of

_ROWS = 512  # that are copied at a time
SCRATCH_BYTES = 3  # of a pixel, while the map is sieved
SMALLEST, LARGEST = 2, 2**31 - 1  # regions of fewer than so many pixels may be taken out


def check(pixels: int) -> None:
    """Raises InputError where no region is of such a size."""
    if pixels and not SMALLEST <= pixels <= LARGEST:
        raise InputError(
            f"--sieve={pixels}: expected the pixels that a region has at least, {SMALLEST} to {LARGEST:,}; leave it "
            "out to keep all of them"
        )


def told(pixels: int) -> str:
    """What was done, in words."""
    return f"regions of fewer than {pixels:,} pixels took the class of a larger neighbour"


def reader(
    draft: Draft, drafted: Sequence[Product], legend: Legend, shape: tuple[int, int], pixels: int
) -> Callable[[int, int], np.ndarray]:
    """Sieves the classes of a draft.

    Args:
      draft: with all its rows.
      drafted: the products whose planes they hold; the probabilities among them where the confidence is wanted.
      legend: of the map.
      shape: rows and columns of the map.
      pixels: that a region has at least.

    Returns:
      A function as `Draft.read`, whose classes are sieved, and whose confidence, where the probabilities are there, is
      that of the new class.
    """
    draft.scratch.mkdir(exist_ok=True)
    ids, valid, out = (
        np.memmap(draft.scratch / name, np.uint8, "w+", shape=shape) for name in ("ids", "valid", "sieved")
    )
    planes = planes_of(drafted)
    for top in range(0, shape[0], _ROWS):
        rows = draft.read(top, min(top + _ROWS, shape[0]))[:, planes["classes"].start]
        ids[top : top + len(rows)], valid[top : top + len(rows)] = rows, rows != legend.nodata
    rasterio.features.sieve(ids, pixels, out=out, mask=valid)
    index_of = np.full(256, IGNORE, np.uint8)
    index_of[[land_class.value for land_class in legend.scored]] = range(len(legend.scored))

    def read(first: int, end: int) -> np.ndarray:
        rows, sieved = draft.read(first, end), np.asarray(out[first:end])
        rows[:, planes["classes"].start] = sieved
        if planes.keys() >= {"confidence", "probabilities"}:
            index = np.where(sieved == legend.nodata, 0, index_of[sieved])
            levels = rows[:, planes["probabilities"]]
            rows[:, planes["confidence"].start] = np.take_along_axis(levels, index[:, None], 1)[:, 0]
        return rows

    return read
