"""Whether numbers of Sentinel-2 carry the offset of +1000 that products of processing baseline 04.00 and later have.

Source: ESA, Sentinel-2 Products Specification Document (RADIO_ADD_OFFSET, BOA_ADD_OFFSET).

What tells is the floor of each band: the number that 99 % of its pixels reach. B10 sees only what is above most of the
air's water; its floor is 4 to 69 in SEN12MS, DFC2020 and cloudy scenes alike, and 1,004 and more with the offset. Where
B10 is missing, or filled with one number, the others tell: without the offset some of them lie far below 1000, over
water, forest and soil in different bands. The median of the floors tells nothing: it is 200 to 1,867 without it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

CIRRUS = "B10"
_WITH = 950.0  # a floor with the offset lies above this: dark water and noise take tens from 1000
_NEAR = 800.0  # all floors above this leave a doubt: negative reflectances, up to -0.02, are found in level 2A
_ENOUGH = 4  # bands, of which a single one may be dark for another reason
_BELOW = -500.0  # no floor lies below this once the right offset is taken off
_CIRRUS_BELOW = -50.0  # nor that of B10 below this


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
