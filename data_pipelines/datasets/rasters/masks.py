"""Masks: from class ids, palettes or colours in a file to ids of the legend."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Collection

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from data_pipelines.datasets.rasters.palettes import (
    Contradiction,
    Palette,
    colour_of,
    ids_of_palette,
    runs_backwards,
    tells_colours,
)
from data_pipelines.geo import raster_io
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.spec import Refused


@dataclasses.dataclass(frozen=True)
class Mask:
    """An open mask: one band of class ids (or palette indices), or three bands of colours.

    Raises Refused for any other file.
    """

    path: pathlib.Path
    dataset: rasterio.DatasetReader

    def __post_init__(self):
        raster_io.check_here(self.dataset)
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

    @functools.cached_property
    def palette(self) -> Palette:
        """The colours that it gives its numbers; empty without a palette."""
        if self.coloured or raster_io.colours_of(self.dataset)[0] != ColorInterp.palette:
            return {}
        return dict(self.dataset.colormap(1))

    @functools.cached_property
    def unlabelled(self) -> frozenset[int]:
        """The numbers (of masks of colours 0xrrggbb) that it declares to be no label: nodata, transparent."""
        nodata = self.dataset.nodata
        declared = {index for index, rgba in self.palette.items() if rgba[3] == 0}
        if nodata is not None and nodata == int(nodata):
            declared.add(int(nodata) * (0x010101 if self.coloured else 1))
        return frozenset(declared)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """What is stored, (h, w): ids, or colours as 0xrrggbb; and which pixels are labelled (not nodata, alpha 0)."""
        bands = raster_io.image_bands(self.dataset)
        try:
            raw = self.dataset.read(bands, window=window, masked=True)
        except rasterio.errors.RasterioError as error:
            raise raster_io.unreadable(self.path, error) from error
        # A colour is nodata where all of its bands are: with nodata 0 alone black is, and not every pure colour.
        labelled = np.asarray(~np.ma.getmaskarray(raw).all(0))
        if len(bands) == 1:
            values = raw.data[0].astype(np.int64)
            if self.palette and self.unlabelled:
                labelled &= ~np.isin(values, list(self.unlabelled))
            return values, labelled
        red, green, blue = raw.data.astype(np.int64)
        return red << 16 | green << 8 | blue, labelled

    def counts(self, part: Window | None = None) -> "Counts":
        """How often the mask, or a part of it, holds each id or colour."""
        found = Counts(collections.Counter(), collections.Counter())
        for window in raster_io.strips(self.dataset, part):
            values, labelled = self.read(window)
            declared = ~labelled & np.isin(values, list(self.unlabelled))
            for counter, chosen in ((found.labelled, labelled), (found.declared, declared)):
                numbers, times = np.unique(values[chosen], return_counts=True)
                counter.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        return found


@dataclasses.dataclass(frozen=True)
class Counts:
    """How often a mask holds each id or colour: in labelled pixels, and where the file declares it to be no label."""

    labelled: collections.Counter
    declared: collections.Counter


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a whole mask is read.

    Attributes:
      pixels: pixels by id of the legend, those of 255 where that is no label; None of masks of colours.
      palette: what its palette decided: "" (it has none), "ids" (its colours are not the legend's) or "colours".
      backwards: whether its numbers are read as ids, and its palette draws the larger ones darker.
    """

    pixels: collections.Counter | None
    palette: str
    backwards: bool = False


UNREAD = Reading(None, "")  # of a mask that was not looked at yet


def check(mask: Mask, legend: Legend) -> Reading:
    """Looks at a whole mask, and returns how it is read.

    Raises Refused for ids outside the legend, where most colours are outside it, for a palette that contradicts it, and
    where the file declares a class of the legend to be no label.
    """
    counts = mask.counts()
    pixels = counts.labelled
    ids = _ids_of(mask, legend, pixels)
    by_palette = bool(mask.palette) and _of_palette(mask, legend, pixels) is not None
    _check_declared(mask, legend, counts, ids)
    strange = sorted(number for number in pixels if number not in ids)
    if mask.coloured:
        _check_colours(mask, legend, pixels, strange)
    elif strange:
        known = ", ".join(str(land_class.value) for land_class in legend.classes)
        known += " or 255 (no label)" if legend.nodata == IGNORE else ""
        shown = ", ".join(map(str, strange[:5])) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
        raise Refused(mask.path, f"label {shown} is not in the legend; expected {known}")
    if mask.coloured:
        return Reading(None, "")
    by_id: collections.Counter = collections.Counter()
    for number, count in pixels.items():
        by_id[ids[number]] += count
    by_number = all(legend.id_of_value()[number] == ids[number] for number in pixels)
    backwards = by_number and runs_backwards(mask.palette, pixels)
    return Reading(by_id, "colours" if by_palette else "ids" if tells_colours(mask.palette) else "", backwards)


def _check_declared(mask: Mask, legend: Legend, counts: Counts, ids: dict[int, int]) -> None:
    """Raises Refused where the file calls a class of the legend nodata, which would take it away without a word."""
    scored = {land_class.id: land_class for land_class in legend.scored}
    for number, times in counts.declared.items():
        if lost := scored.get(ids.get(number, IGNORE)):
            share = times / (mask.dataset.height * mask.dataset.width)
            what = f"#{number:06x}" if mask.coloured else str(number)
            raise Refused(
                mask.path,
                f"the file declares {what} to be nodata, in {share:.0%} of its pixels, but in the legend it is the "
                f"class {lost.name}; if it is that class, say so with `gdal_edit.py -unsetnodata {mask.path.name}` (or "
                f"`rio edit-info --unset-nodata {mask.path.name}`), else put ignore 1 to it in the legend",
            )


def _check_colours(mask: Mask, legend: Legend, pixels: collections.Counter, strange: list[int]) -> None:
    off = {colour: pixels[colour] for colour in strange}
    if 2 * sum(off.values()) > sum(pixels.values()):
        share = sum(off.values()) / sum(pixels.values())
        commonest = max(off, key=lambda colour: (off[colour], colour))
        raise Refused(
            mask.path,
            f"{share:.0%} of the pixels have colours that are not in the legend, the commonest #{commonest:06x}; "
            f"expected {', '.join(land_class.colour for land_class in legend.classes)}",
        )


def labels(mask: Mask, legend: Legend, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Ids (h, w) uint8, 255 where there is no label; and where a colour is off the legend (h, w) bool."""
    values, labelled = mask.read(window)
    numbers, at = np.unique(values, return_inverse=True)
    ids = _ids_of(mask, legend, np.unique(values[labelled]).tolist())
    known = np.array([number in ids for number in numbers.tolist()])[at].reshape(values.shape)
    label = np.array([ids.get(number, IGNORE) for number in numbers.tolist()], np.uint8)[at].reshape(values.shape)
    return np.where(labelled, label, np.uint8(IGNORE)), labelled & ~known


def _ids_of(mask: Mask, legend: Legend, used: Collection[int]) -> dict[int, int]:
    """Number or colour in a mask -> id of the legend, 255 for no label; `used` are those of its labelled pixels."""
    if mask.coloured:
        return {colour_number(land_class.colour): land_class.id for land_class in legend.classes}
    by_value = {land_class.value: land_class.id for land_class in legend.classes}
    by_palette = _of_palette(mask, legend, used)
    if by_palette is None:
        return {IGNORE: IGNORE} | by_value
    # Of what the file declares to be no label, the colour tells which class it would be.
    colours = {land_class.colour: land_class.id for land_class in legend.classes}
    declared = {number: colours.get(colour_of(mask.palette[number])) for number in mask.unlabelled & set(mask.palette)}
    return {number: known for number, known in declared.items() if known is not None} | by_palette


def _of_palette(mask: Mask, legend: Legend, used: Collection[int]) -> dict[int, int] | None:
    try:
        return ids_of_palette(mask.palette, used, legend)
    except Contradiction as error:
        raise Refused(
            mask.path,
            f"{error}; expected a palette of the legend's colours (then colours decide) or of none of them (then its "
            "numbers are ids); put its colours into the legend, or save the mask without a palette",
        ) from error


def colour_number(colour: str) -> int:
    """A colour "#rrggbb" as the number 0xrrggbb."""
    return int(colour[1:], 16)
