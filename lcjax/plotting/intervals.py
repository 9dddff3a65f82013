"""Areas of classes as bars with intervals: what a map counts, and what is estimated from a sample."""

import dataclasses
from collections.abc import Sequence

import matplotlib
import numpy as np

from lcjax.plotting.figures import STYLE, clip, new_figure, png


@dataclasses.dataclass(frozen=True)
class Bar:
    """One class.

    Attributes:
      name: of the class.
      colour: "#rrggbb".
      mapped: area that the map counts.
      estimated: from the sample.
      low, high: ends of its interval.
    """

    name: str
    colour: str
    mapped: float
    estimated: float
    low: float
    high: float


@matplotlib.rc_context(STYLE)
def areas(bars: Sequence[Bar], unit: str) -> bytes:
    """Draws a bar for what is mapped of each class, and a point with its interval for what is estimated.

    Args:
      bars: from the top.
      unit: of the areas, for the axis.
    """
    figure = new_figure(7.4, 1.2 + 0.34 * len(bars))
    axes = figure.subplots()
    rows = np.arange(len(bars))
    axes.barh(
        rows, [bar.mapped for bar in bars], color=[bar.colour for bar in bars], edgecolor="#445", linewidth=0.6,
        height=0.62, alpha=0.75, label="mapped",
    )  # fmt: skip
    estimated = np.array([bar.estimated for bar in bars])
    ends = np.array([(bar.estimated - bar.low, bar.high - bar.estimated) for bar in bars]).T
    for colour, width in (("white", 4.2), ("#111827", 1.6)):  # a white rim, so that they show on every colour
        axes.errorbar(
            estimated, rows, xerr=ends.clip(0), fmt="o", markersize=4.5 + (width > 2) * 1.6, color=colour,
            elinewidth=width, capsize=3.5, capthick=width, label="estimated, 95 % interval" if width < 2 else None,
        )  # fmt: skip
    axes.set_yticks(rows, [clip(bar.name, 28) for bar in bars])
    axes.set(xlabel=unit, xlim=(0, None))
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return png(figure)
