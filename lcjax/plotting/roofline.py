"""The roofline of a device as PNG bytes. As in `figures`, the same input gives the same bytes."""

import matplotlib
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lcjax.plotting.figures import LINE_COLOURS, STYLE, new_figure, png


@matplotlib.rc_context(STYLE)
def roofline(title: str, name: str, reached: float, intensity: float, peak: float, bandwidth: float) -> bytes:
    """The roof of a device, and where a program stands below it; both axes are logarithmic.

    Args:
      title: above the axes.
      name: of the program.
      reached: FLOP/s.
      intensity: FLOPs for each byte that it moves.
      peak: FLOP/s of the device.
      bandwidth: bytes/s of its memory.
    """
    ridge, roof = peak / bandwidth, min(intensity * bandwidth, peak)
    ends = np.array([min(intensity, ridge) / 8, ridge, max(intensity, ridge) * 8])
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    axes.loglog(ends, np.minimum(ends * bandwidth, peak) / 1e9, color="#667", linewidth=1.5)
    axes.plot([intensity] * 2, [reached / 1e9, roof / 1e9], ":", color="#667")
    axes.plot([intensity], [reached / 1e9], "o", color=LINE_COLOURS[0])
    left = intensity < ridge
    axes.annotate(
        f"{name}: {100 * reached / roof:.0f} % of the roof",
        (intensity, reached / 1e9),
        xytext=(8 if left else -8, -4),
        textcoords="offset points",
        va="top",
        ha="left" if left else "right",
    )
    axes.set_title(title)
    axes.set_xlabel("FLOP for each byte moved")
    axes.set_ylabel("GFLOP/s")
    axes.grid(True, which="major")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    return png(figure)
