"""What numbers of Sentinel-2 mean: whether they carry the offset of +1000 of processing baseline 04.00 and later.

Builders of data sets and `predict` ask here: what the file states (`stated`), and what its numbers tell (`floors`,
`carries_offset`, `below_zero`).

Source: ESA, Sentinel-2 Products Specification Document (RADIO_ADD_OFFSET, BOA_ADD_OFFSET).

What tells is the floor of each band: the number that 99 % of its pixels reach. B10 sees only what is above most of the
air's water; its floor is 4 to 69 in SEN12MS, DFC2020 and cloudy scenes alike, and 1,004 and more with the offset. Where
B10 is missing, or filled with one number, the others tell: without the offset some of them lie far below 1000, over
water, forest and soil in different bands. The median of the floors tells nothing: it is 200 to 1,867 without it.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.geo import packing
from data_pipelines.schema.spec import Refused

CIRRUS = "B10"
BAND_OFFSET = "the file's band offset"  # what says so, where it is no tag
MAY_CARRY = "may carry the offset of +1000 of processing baseline 04.00 and later"
_UNITS = (1.0, 1e-4)  # scales that files may state: the numbers are reflectance x 10,000 with both
_BASELINE_OFFSET = -1000.0
_WITH = 950.0  # a floor with the offset lies above this: dark water and noise take tens from 1000
_NEAR = 800.0  # all floors above this leave a doubt: negative reflectances, up to -0.02, are found in level 2A
_MOST = 65_535  # no offset of 16-bit numbers is larger
_ENOUGH = 4  # bands, of which a single one may be dark for another reason
_BELOW = -500.0  # no floor lies below this once the right offset is taken off
_CIRRUS_BELOW = -50.0  # nor that of B10 below this


def tags_of(dataset, indices: Sequence[int]) -> tuple[dict[str, str], ...]:
    """The tags of an open rasterio dataset, and those of some of its bands (from 1): what `stated` looks at."""
    return tuple(dict(dataset.tags(index)) for index in (0, *indices))


def stated(
    path: pathlib.Path, packed: packing.Packing, tags: Sequence[Mapping[str, str]], *, overruled: bool = False
) -> tuple[tuple[float, ...], str]:
    """The number that a file asks to add to its bands, and what of the file says so; nothing where it is silent.

    Args:
      path: of the file, for the message.
      packed: the scale and offset that it states of each band.
      tags: its tags, then those of its bands.
      overruled: whether the user has given a number, so that tags which tell none are no harm.

    Returns:
      One number for all bands, or one for each; and a phrase, "the tag BOA_ADD_OFFSET".

    Raises Refused where the numbers are no reflectance x 10,000, or where tags contradict each other or tell no number.
    """
    if any(not np.isclose(scale, _UNITS).any() for scale, _ in packed):
        raise Refused(path, f"{packing.told(packed)}; expected a scale of 1 or 0.0001; rescale it first")
    if any(shift for _, shift in packed):
        return tuple(_number(path, shift / scale) for scale, shift in packed), BAND_OFFSET
    everything = [item for some in tags for item in some.items()]
    offsets = {(key, text.strip()) for key, text in everything if re.match(r"(BOA|RADIO)_ADD_OFFSET", key.upper())}
    texts = {text for _, text in offsets}
    if len(texts) > 1 or not all(re.fullmatch(r"[-+]?\d+(\.\d*)?", text) for text in texts):
        if overruled:
            return (), ""
        raise Refused(path, f"offset tags {', '.join(sorted(texts))}; expected one number; give it with --offset")
    if offsets:
        return (_number(path, float(texts.pop())),), f"the tag {min(offsets)[0]}"
    for key, text in tags[0].items() if tags else ():  # as one text: GDAL cuts "s2:processing_baseline" at its colon
        baseline = re.search(r"PROCESSING_BASELINE\W*N?(\d\d)\.?\d\d", f"{key}={text}".upper())
        if baseline and int(baseline[1]) >= 4:
            return (_BASELINE_OFFSET,), f"the tag {key}={text}"
    return (), ""


def _number(path: pathlib.Path, added: float) -> float:
    """An offset as a whole number. Raises Refused for one that no number of 16 bits can have."""
    if not abs(added) <= _MOST:
        raise Refused(
            path, f"states an offset of {added:g}; expected one within {_MOST:,}, such as -1000; is it damaged?"
        )
    return float(round(added))


def floors(values: np.ndarray, bands: Sequence[str]) -> dict[str, float]:
    """The floor of each band of numbers (pixels, bands); of bands that are one number throughout there is none."""
    low, high = np.percentile(values, (1, 99), axis=0)
    return {band: float(low[k]) for k, band in enumerate(bands) if high[k] > low[k]}


def carries_offset(of_bands: Mapping[str, float]) -> bool | None:
    """Whether bands with these floors carry the offset; None where that is in doubt."""
    dark = [floor for floor in of_bands.values() if floor < _WITH]
    if not of_bands:
        return False
    if not dark or of_bands.get(CIRRUS, 0.0) >= _WITH:
        return True
    one_alone = len(dark) == 1 and len(of_bands) >= _ENOUGH
    return None if one_alone or min(dark) >= _NEAR else False


def why(of_bands: Mapping[str, float]) -> str:
    """What speaks for the offset, as a phrase."""
    if of_bands.get(CIRRUS, 0.0) >= _WITH:
        return f"B10 (cirrus) is {of_bands[CIRRUS]:g} or more in 99 % of the pixels, expected near 0"
    high = [floor for floor in of_bands.values() if floor >= _NEAR]
    bands = "every band starts" if len(high) == len(of_bands) else f"{len(high)} of {len(of_bands)} bands start"
    return f"{bands} near or above 1000 (1st percentiles from {min(high):.0f})"


def below_zero(of_bands: Mapping[str, float]) -> str:
    """A band whose floor, with an offset added, shows that there was none; empty where there is no such band."""
    limits = {band: _CIRRUS_BELOW if band == CIRRUS else _BELOW for band in of_bands}
    return min((band for band in of_bands if of_bands[band] < limits[band]), key=lambda b: of_bands[b], default="")
