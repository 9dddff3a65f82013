"""Fill values that nobody declared: one extreme value in much of an image, such as -9999, 0, 255 or 65535."""

import numpy as np

MUCH = 0.2  # share of the pixels that one value fills: snow, shadow and glare seldom saturate so many in every band


def fill_share(values: np.ndarray) -> tuple[float, float] | None:
    """The value that looks like a fill, and its share of the pixels; None where there is none.

    It is the least or the largest number of all, and more than `MUCH` of the pixels hold it in every band. It may be
    data for all that: warn, and drop nothing.

    Args:
      values: (pixels, bands) numbers that count as data so far. What is not finite is left out.
    """
    values = values[np.isfinite(values).all(1)]
    if not len(values):
        return None
    flat = values[:, 0][(values == values[:, :1]).all(1)]
    shares = [
        (float(np.count_nonzero(flat == extreme) / len(values)), extreme) for extreme in (values.min(), values.max())
    ]
    share, value = max(shares)
    return (float(value), share) if share > MUCH else None


def warning(value: float, share: float) -> str:
    """What to say of a fill value, as a phrase that follows the name of a file."""
    return (
        f"{share:.0%} of the pixels are {value:g} in every band; if that means no data, declare it, "
        f"e.g. `rio edit-info --nodata {value:g} FILE`: until then it counts as data"
    )
