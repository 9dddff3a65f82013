"""A map of scores: the ground of each place in the colour of its score."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize

from lcjax.plotting import figures

_APART = (0.16, 0.07)  # of the map's width and height: two names that far from each other can be read
_SEEN = 0.012  # share of the map's width that a place must have to be seen without a dot

_NAME: dict[str, Any] = {
    "textcoords": "offset points",
    "ha": "center",
    "fontsize": 7,
    "bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
}


@matplotlib.rc_context(figures.STYLE)
def place_map(
    names: Sequence[str], boxes: Sequence[np.ndarray], values: Sequence[float], score: str, title: str
) -> bytes:
    """Draws places in longitude and latitude, as far as they are small as true as a map of their middle latitude.

    Args:
      names: of the places; of two whose names would lie on each other, the first is named.
      boxes: of each place (n, 4): west, south, east and north of its records in degrees.
      values: of each place its score, from 0 to 1.
      score: what the values are, for the scale of colours.
      title: above the map.
    """
    whole = unwrapped(np.concatenate(boxes))
    west, south, east, north = whole[:, 0].min(), whole[:, 1].min(), whole[:, 2].max(), whole[:, 3].max()
    stretch = 1 / max(np.cos(np.radians((south + north) / 2)), 0.05)
    margin = 0.06 * max(east - west, (north - south) * stretch, 1e-6)
    wide, high = east - west + 2 * margin, (north - south) * stretch + 2 * margin
    figure = figures.new_figure(8.2, float(np.clip(6.4 * high / wide, 2.2, 6.5)) + 1.0)
    axes = figure.subplots()
    least, most = min(values), max(values)
    colours, norm = matplotlib.colormaps["viridis"], Normalize(least, most if most > least else least + 0.01)
    sizes = [len(of_place) for of_place in boxes]
    begins = np.cumsum([0, *sizes[:-1]])
    left, low = (np.minimum.reduceat(whole[:, side], begins) for side in (0, 1))
    right, top = (np.maximum.reduceat(whole[:, side], begins) for side in (2, 3))
    colour, x, y = np.array(colours(norm(values))), (left + right) / 2, (low + top) / 2
    corners: Any = whole[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    axes.add_collection(
        PolyCollection(corners, facecolor=colour.repeat(sizes, axis=0), edgecolor="white", linewidth=0.2)
    )
    small = np.maximum(right - left, (top - low) * stretch) < _SEEN * wide
    axes.scatter(x[small], y[small], s=49, c=colour[small], edgecolors="#223", linewidths=1, zorder=2)
    for place in readable(x / wide / _APART[0], y * stretch / high / _APART[1]):
        axes.annotate(figures.clip(names[place], 28), (x[place], y[place]), (0, 7), **_NAME)
    axes.set(xlim=(west - margin, east + margin), ylim=(south - margin / stretch, north + margin / stretch))
    axes.set_aspect(stretch, adjustable="box")
    axes.set(xlabel="longitude (degrees)", ylabel="latitude (degrees)")
    axes.set_title(figures.clip(title, 80))
    axes.grid(True)
    axes.yaxis.set_major_formatter(lambda latitude, _: f"{latitude:.7g}")
    axes.locator_params(nbins=6)
    axes.xaxis.set_major_formatter(lambda longitude, _: f"{(longitude + 180) % 360 - 180:.7g}")
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=score, shrink=0.9)
    return figures.png(figure)


def readable(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Numbers of the places whose names can be read: the first, and each that lies 1 or more from all named before."""
    named, free = [], np.ones(len(x), bool)
    while free.any():
        named.append(first := int(free.argmax()))
        free &= (abs(x - x[first]) >= 1) | (abs(y - y[first]) >= 1)
    return named


def unwrapped(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) with longitudes counted on from the first one, so that none is cut by the antimeridian."""
    west, south, east, north = boxes.T
    begin = west[0] + (west - west[0] + 180) % 360 - 180
    return np.stack([begin, south, begin + (east - west) % 360, north], axis=1)
