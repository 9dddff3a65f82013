"""Masks with a palette: whether their numbers are ids, or mean the colours that the palette gives them."""

import collections
import itertools
from collections.abc import Collection, Mapping, Sequence

from data_pipelines.schema.legends import IGNORE, LandClass, Legend

Palette = Mapping[int, tuple[int, int, int, int]]  # index -> red, green, blue, alpha, as rasterio has it
_MID_GREY = 127


class Contradiction(ValueError):
    """A palette and a legend that cannot be read together; says which index, colour and class."""


def colour_of(rgba: tuple[int, ...]) -> str:
    """A colour "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*rgba[:3])


def tells_colours(palette: Palette) -> bool:
    """Whether a palette is more than a ramp of greys (index i is grey i), which programs write where there is none."""
    return any(
        colour_of(rgba) not in (f"#{index:02x}{index:02x}{index:02x}", "#000000") for index, rgba in palette.items()
    )


def runs_backwards(palette: Palette, used: Collection[int]) -> bool:
    """Whether the numbers that a mask uses are greys, and the larger ones darker.

    Programs that make files small number greys as they come: white may be 0, where other masks have 1 or 255 for it.
    Of a mask that holds one number, all of its palette is asked (`_is_drawn_backwards`).
    """
    known = [number for number in sorted(used) if number in palette]
    greys = _greys(palette, known)
    if len(known) == 1:
        return _is_drawn_backwards(palette, known[0])
    return len(greys) == len(known) and _darkens(greys)


def _is_drawn_backwards(palette: Palette, number: int) -> bool:
    """Whether a palette of greys draws a number as one would draw its opposite.

    That is 0 where it is light, or lighter than what comes next; and any other number where it is darker than 0.
    """
    greys = _greys(palette, sorted(palette))
    if 0 not in palette or len(greys) < len(palette):
        return False  # colours, or a legend that has no 0
    if number > 0:
        return greys[0] > palette[number][0]
    return greys[0] > _MID_GREY or _darkens(greys)


def _greys(palette: Palette, numbers: Sequence[int]) -> list[int]:
    """How light those of the numbers are that are grey, in order."""
    return [palette[number][0] for number in numbers if len(set(palette[number][:3])) == 1]


def _darkens(greys: Sequence[int]) -> bool:
    """Whether each of several greys is darker than the one before."""
    return len(greys) > 1 and all(one > other for one, other in itertools.pairwise(greys))


def ids_of_palette(palette: Palette, used: Collection[int], legend: Legend) -> dict[int, int] | None:
    """What the numbers of a mask mean: number -> id, 255 for no label; None where they are read as without a palette.

    Where the palette's colours are those of the legend, colours decide, as in masks of three bands: files number the
    same colours in another order each. Where none of them is, the colours of the legend are its owner's own, and the
    numbers are ids. What holds for all numbers of a mask holds for some of them, so that a mask can be read in parts.

    Args:
      palette: of the mask.
      used: the numbers that its labelled pixels hold.
      legend: with numbers and colours of the classes.

    Raises:
      Contradiction: neither of the two can be told; names both.
    """
    by_value = {land_class.value: land_class for land_class in legend.classes}
    by_colour: dict[str, list[LandClass]] = {}
    for land_class in legend.classes:
        by_colour.setdefault(land_class.colour, []).append(land_class)
    colours = {index: colour_of(rgba) for index, rgba in palette.items()}
    times = collections.Counter(colours.values())
    # 255 is no label, as in every mask, where the legend does not tell otherwise; palettes are filled up with a colour.
    unlabelled = IGNORE not in by_value and (colours.get(IGNORE) not in by_colour or times[colours[IGNORE]] > 1)
    drawn = {index: colours.get(index, "") for index in sorted(used) if not (index == IGNORE and unlabelled)}
    none = {IGNORE: IGNORE} if unlabelled else {}
    known = next((index for index, colour in drawn.items() if colour in by_colour), None)
    if known is None or not tells_colours(palette):
        return None
    if all(index in by_value and by_value[index].colour == colour for index, colour in drawn.items()):
        return {index: by_value[index].id for index in drawn} | none  # both say the same
    for index, colour in drawn.items():
        classes = by_colour.get(colour, [])
        if not classes:
            raise Contradiction(
                f"its palette gives {index} {f'the colour {colour}' if colour else 'no colour'}, which no class of the "
                f"legend has, but {known} the colour {drawn[known]} of {by_colour[drawn[known]][0].name}"
            )
        if len(classes) > 1:
            raise Contradiction(
                f"its palette gives {index} the colour {colour}, which is that of {classes[0].name} and of "
                f"{classes[1].name} in the legend"
            )
        if twice := [other for other, same in drawn.items() if same == colour and other != index]:
            raise Contradiction(
                f"its palette gives both {index} and {twice[0]} the colour {colour} of {classes[0].name}"
            )
    return {index: by_colour[colour][0].id for index, colour in drawn.items()} | none
