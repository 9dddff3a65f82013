"""The legend that `prepare --init` writes: classes as the masks hold them, for their owner to name."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence

from data_pipelines.datasets.rasters import masks
from data_pipelines.datasets.rasters.palettes import Palette, colour_of, runs_backwards, tells_colours
from data_pipelines.geo import raster_io
from data_pipelines.schema.display import distinct_colours
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.spec import Refused

_RARE = 0.005  # of the pixels
_MOST_CLASSES = 254
_SHOWN = 5  # rare colours that are named
Row = tuple[int, str, str, str]  # of legend.csv


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one mask holds.

    Attributes:
      pixels: labelled pixels by id or colour.
      declared: pixels by id or colour that the file declares to be no label.
      coloured: whether these are colours.
      palette, names: the colours and names that the file gives its ids.
    """

    pixels: collections.Counter
    declared: collections.Counter
    coloured: bool
    palette: Palette
    names: dict[int, str]

    @property
    def drawn(self) -> dict[int, str]:
        """The colour of each id that it holds, where it has a palette of colours."""
        if not tells_colours(self.palette):
            return {}
        return {number: colour_of(self.palette[number]) for number in self.pixels if number in self.palette}

    @property
    def is_plain(self) -> bool:
        """Whether it holds ids without colours."""
        return not self.coloured and not tells_colours(self.palette)

    def by_colours(self) -> "Seen":
        """The same mask with the colours of its palette in place of its ids."""
        if self.coloured:
            return self
        pixels: collections.Counter = collections.Counter()
        for number, colour in self.drawn.items():
            pixels[masks.colour_number(colour)] += self.pixels[number]
        return Seen(pixels, collections.Counter(), True, {}, {})


def look(path: pathlib.Path) -> Seen | None:
    """What a mask holds; None for a file that cannot be read."""
    try:
        with raster_io.opened(path) as dataset:
            mask = masks.Mask(path, dataset)
            names = {}
            for key, text in dataset.tags(1).items() if not mask.coloured else ():
                if named := re.fullmatch(r"CLASS_(\d+)", key):
                    names[int(named[1])] = text
            counts = mask.counts()
            return Seen(counts.labelled, counts.declared, mask.coloured, mask.palette, names)
    except Refused:
        return None


def classes_of(seen: Sequence[Seen]) -> tuple[list[Row], list[str]]:
    """Rows of the legend, and remarks. Raises InputError where the masks are of two kinds, or hold no classes.

    Palettes that give one id several colours number the same colours in another order: then colours are the classes.
    """
    coloured = [one for one in seen if one.coloured]
    if _by_colours(seen):
        if other := [one for one in seen if not one.coloured and one.pixels and not one.drawn]:
            what = (
                "some class ids" if coloured else "some have palettes that give one id several colours, and some none"
            )
            raise InputError(
                f"some masks hold colours and {what} ({len(other)} of {len(seen)} tell ids alone); expected one kind; "
                "prepare them as two data sets, or turn one into the other"
            )
        rows, remarks = _of_colours(seen)
        if not coloured:
            remarks.insert(
                0, "the palettes of the masks number the same colours differently; the colours are the classes"
            )
    else:
        rows, remarks = _of_ids(seen)
    if len([row for row in rows if not row[3]]) < 2:
        raise InputError(f"the masks hold {len(rows)} classes; expected at least two")
    if len(rows) > _MOST_CLASSES:
        raise InputError(
            f"the masks hold {len(rows)} colours that are not rare; expected at most {_MOST_CLASSES} classes"
        )
    return rows, remarks


def missing(rows: Sequence[Row], seen: Sequence[Seen], splits: Sequence[str]) -> list[str]:
    """A remark for each split that lacks classes which another one has.

    Args:
      rows: of the legend.
      seen: what the masks hold.
      splits: of each mask.
    """
    coloured = _by_colours(seen)
    held: dict[str, set[int]] = {}
    for one, split in zip(seen, splits, strict=True):
        held.setdefault(split, set()).update((one.by_colours() if coloured else one).pixels)
    remarks = []
    for split, numbers in held.items():
        names = [r[1] for r in rows if not r[3] and (masks.colour_number(r[2]) if coloured else r[0]) not in numbers]
        if names:
            remarks.append(f"{split}: no pixel of {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}")
    return remarks


def _by_colours(seen: Sequence[Seen]) -> bool:
    return any(one.coloured for one in seen) or not _agree(seen)


def _agree(seen: Sequence[Seen]) -> bool:
    """Whether all palettes give an id that their masks hold one and the same colour."""
    colours: dict[int, str] = {}
    for one in seen:
        for number, colour in one.drawn.items():
            if colours.setdefault(number, colour) != colour:
                return False
    return True


def _of_colours(seen: Sequence[Seen]) -> tuple[list[Row], list[str]]:
    pixels: collections.Counter = collections.Counter()
    held: collections.Counter = collections.Counter()
    # The colours of a palette are exact, however rare; in three bands they may be blends along edges.
    exact = {masks.colour_number(colour) for one in seen for colour in one.drawn.values()}
    for one in (mask.by_colours() for mask in seen):
        pixels.update(one.pixels)
        held.update(one.pixels.keys())
    total = max(sum(pixels.values()), 1)
    kept = [c for c, n in pixels.most_common() if n >= _RARE * total or 2 * held[c] > len(seen) or c in exact]
    rows: list[Row] = [(number, f"class_{number}", f"#{colour:06x}", "") for number, colour in enumerate(kept, 1)]
    rare = sorted(((n, c) for c, n in pixels.items() if c not in kept), reverse=True)
    share = sum(n for n, _ in rare) / total
    shown = ", ".join(f"#{colour:06x} {n / total:.3%}" for n, colour in rare[:_SHOWN])
    remarks = [f"left out: {len(rare)} rare colours, {share:.2%} of the pixels ({shown})"] if rare else []
    remarks += [f"class_{i}: {c} {pixels[k] / total:.1%}" for (i, _, c, _), k in zip(rows, kept, strict=True)]
    return rows, remarks


def _of_ids(seen: Sequence[Seen]) -> tuple[list[Row], list[str]]:
    pixels: collections.Counter = collections.Counter()
    declared: collections.Counter = collections.Counter()
    palette: dict[int, str] = {}
    names: dict[int, str] = {}
    plain = any(one.is_plain and one.pixels for one in seen)
    backwards = [one for one in seen if plain and runs_backwards(one.palette, one.pixels)]
    for one in seen:
        pixels.update(one.pixels)
        declared.update(one.declared)
        if tells_colours(one.palette) and one not in backwards:
            palette = {number: colour_of(rgba) for number, rgba in one.palette.items()} | palette
        names = one.names | names
    palette |= {number: colour for one in seen if one not in backwards for number, colour in one.drawn.items()}
    several = [one for one in backwards if len(one.drawn) > 1]
    for one in several:  # what is 0 in the others is black in these
        palette |= dict(zip(sorted(one.drawn), sorted(one.drawn.values()), strict=True))
    everything = max(pixels.total() + declared.total(), 1)
    ids = sorted(number for number in pixels if number != IGNORE)
    if ids and not 0 <= ids[0] <= ids[-1] < IGNORE:
        raise InputError(f"the masks hold numbers from {ids[0]} to {ids[-1]}; expected class ids from 0 to 254")
    lost = sorted(number for number in declared if number not in ids and 0 <= number < IGNORE)
    binary = len(ids) + len(lost) == 1 and pixels[IGNORE] > 0
    listed = sorted({*ids, *lost, *([IGNORE] if binary else [])})
    if backwards and not several and len(listed) == 2:  # each of them is all black or all white
        palette |= dict(zip(listed, ("#000000", "#ffffff"), strict=True))
    # With one other id alone, what the masks call nodata must be the second class.
    ignored = set(lost) if len(listed) - len(lost) > 1 else set()
    rows: list[Row] = [
        (i, names.get(i, f"class_{i}"), palette.get(i, colour), "1" if i in ignored else "")
        for i, colour in zip(listed, distinct_colours(len(listed)), strict=True)
    ]
    shares = {i: (declared if i in lost else pixels)[i] / everything for i in listed}
    remarks = [f"{row[1]}: id {row[0]} {shares[row[0]]:.1%}" for row in rows]
    if backwards:
        remarks.append(
            f"{len(backwards)} of {len(seen)} masks have a palette that draws the smaller numbers lighter, and others "
            "have none: the classes have its greys in the order of those, so that colours decide; look whether that is "
            "right"
        )
    if binary:
        remarks.append(
            f"255 is listed as a class, for the masks hold only {(ids + lost)[0]} beside it; if it means no label, "
            "put ignore 1 to it"
        )
    elif pixels[IGNORE]:
        remarks.append(f"255, {pixels[IGNORE] / everything:.1%} of the pixels, is no label")
    for i in lost:
        what = "its row says ignore 1" if i in ignored else "`prepare` will ask for it"
        remarks.append(
            f"id {i}, {shares[i]:.1%} of the pixels, is what the masks declare to be nodata, so {what}; if it is a "
            "class, take ignore away, and the declaration from the masks with `gdal_edit.py -unsetnodata FILE`"
        )
    return rows, remarks
