"""Colours for classes that have none of their own."""

import colorsys

# Twelve colours that are told apart easily (ColorBrewer's Paired).
_PALETTE = (
    "#1f78b4", "#33a02c", "#e31a1c", "#ff7f00", "#6a3d9a", "#b15928",
    "#a6cee3", "#b2df8a", "#fb9a99", "#fdbf6f", "#cab2d6", "#ffff99",
)  # fmt: skip


def distinct_colours(count: int) -> list[str]:
    """So many colours ("#rrggbb") that are told apart: those of the palette, then hues a golden angle apart."""
    more = (colorsys.hsv_to_rgb(0.618034 * k % 1, 0.55 + 0.3 * (k % 2), 0.85) for k in range(count))
    return [*_PALETTE, *("#" + "".join(f"{round(255 * c):02x}" for c in rgb) for rgb in more)][:count]
