"""Masks: from class ids, palettes or colours in a file to ids of the legend."""

import collections
import dataclasses
import pathlib

import numpy as np
import rasterio
from rasterio.windows import Window

from data_pipelines.geo import raster_io
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.spec import Refused

_ROWS = 512  # read at once when a whole mask is looked at


@dataclasses.dataclass(frozen=True)
class Mask:
    """An open mask: one band of class ids (or palette indices), or three bands of colours.

    Raises Refused for any other file.
    """

    path: pathlib.Path
    dataset: rasterio.DatasetReader

    def __post_init__(self):
        bands, kinds = raster_io.image_bands(self.dataset), set(self.dataset.dtypes)
        if any(not np.issubdtype(kind, np.integer) for kind in kinds):
            raise Refused(self.path, f"a mask of {', '.join(sorted(kinds))}; expected whole numbers: ids, or colours")
        if len(bands) not in (1, 3) or (len(bands) == 3 and kinds != {"uint8"}):
            raise Refused(
                self.path,
                f"a mask of {len(bands)} bands of {', '.join(sorted(kinds))}; expected 1 (class ids) or 3 of uint8 "
                "(colours)",
            )

    @property
    def coloured(self) -> bool:
        """Whether it holds colours, not class ids."""
        return len(raster_io.image_bands(self.dataset)) == 3

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """What is stored, (h, w): ids, or colours as 0xrrggbb; and which pixels are labelled (not nodata, alpha 0)."""
        bands = raster_io.image_bands(self.dataset)
        try:
            raw = self.dataset.read(bands, window=window, masked=True)
        except rasterio.errors.RasterioError as error:
            raise raster_io.unreadable(self.path, error) from error
        labelled = np.asarray(~np.ma.getmaskarray(raw).any(0))
        if len(bands) == 1:
            return raw.data[0].astype(np.int64), labelled
        red, green, blue = raw.data.astype(np.int64)
        return red << 16 | green << 8 | blue, labelled

    def counts(self) -> collections.Counter:
        """How often the whole mask holds each id or colour."""
        found: collections.Counter = collections.Counter()
        height, width = self.dataset.shape
        for top in range(0, height, _ROWS):
            values, labelled = self.read(Window(0, top, width, min(_ROWS, height - top)))
            found.update(dict(zip(*(a.tolist() for a in np.unique(values[labelled], return_counts=True)), strict=True)))
        return found


def check(mask: Mask, legend: Legend) -> None:
    """Looks at a whole mask. Raises Refused for ids outside the legend, or where most colours are outside it."""
    counts = mask.counts()
    if not mask.coloured:
        strange = sorted(set(counts) - set(legend.allowed_ids))
        if strange:
            known = ", ".join(str(land_class.id) for land_class in legend.classes)
            shown = ", ".join(map(str, strange[:5])) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
            raise Refused(mask.path, f"label {shown} is not in the legend; expected {known} or 255 (no label)")
        return
    colours = {colour_number(land_class.colour) for land_class in legend.classes}
    off = {colour: count for colour, count in counts.items() if colour not in colours}
    if 2 * sum(off.values()) > sum(counts.values()):
        share = sum(off.values()) / sum(counts.values())
        commonest = max(off, key=lambda colour: (off[colour], colour))
        raise Refused(
            mask.path,
            f"{share:.0%} of the pixels have colours that are not in the legend, the commonest #{commonest:06x}; "
            f"expected {', '.join(land_class.colour for land_class in legend.classes)}",
        )


def labels(mask: Mask, legend: Legend, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Ids (h, w) uint8, 255 where there is no label; and where a colour is off the legend (h, w) bool."""
    values, labelled = mask.read(window)
    if not mask.coloured:
        return np.where(labelled, values, IGNORE).astype(np.uint8), np.zeros(values.shape, bool)
    classes = sorted(legend.classes, key=lambda land_class: colour_number(land_class.colour))
    colours = np.array([colour_number(land_class.colour) for land_class in classes])
    ids = np.array([land_class.id for land_class in classes], np.uint8)
    at = np.searchsorted(colours, values).clip(max=len(colours) - 1)
    known = colours[at] == values
    return np.where(labelled & known, ids[at], IGNORE).astype(np.uint8), labelled & ~known


def colour_number(colour: str) -> int:
    """A colour "#rrggbb" as the number 0xrrggbb."""
    return int(colour[1:], 16)
