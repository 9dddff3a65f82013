"""The preview of a map: the scene beside its classes."""

import pathlib

import numpy as np

from lcjax.runs.model_card import Card

LONGEST = 900  # pixels of the longer side of scene and map


def save(path: pathlib.Path, ids: np.ndarray, picture: np.ndarray, card: Card, rows: list[dict], title: str) -> None:
    """Draws the scene beside its map, with the classes that occur and their share.

    Args:
      path: PNG to write.
      ids: the map, (h, w) uint8 numbers of the legend, and its `nodata`.
      picture: the scene, (h, w, 3) uint8.
      card: gives the legend and the sensor that is pictured.
      rows: of the whole map, as `areas.Areas.rows` gives them.
      title: of the map.
    """
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):  # a "$" in the name of a class is a "$"
        _draw(path, ids, picture, card, rows, title)


def _draw(path: pathlib.Path, ids: np.ndarray, picture: np.ndarray, card: Card, rows: list[dict], title: str) -> None:
    from matplotlib.figure import Figure  # no pyplot: no window system, no global state
    from matplotlib.patches import Patch

    palette = card.legend.map_palette()
    palette[card.legend.nodata] = 255
    height, width = ids.shape
    stacked = width > 1.6 * height  # a wide scene stands above its map
    panel = 5.2  # inches of the longer side
    size = (panel * min(1, width / height), panel * min(1, height / width))
    figure = Figure(
        figsize=(size[0] + 2.6, 2 * size[1] + 1.0) if stacked else (2 * size[0] + 2.8, size[1] + 0.8),
        layout="constrained",
    )
    axes = figure.subplots(2, 1) if stacked else figure.subplots(1, 2)
    sensor = card.sensors[-1]
    for ax, image, name in (
        (axes[0], picture, f"{sensor.name.upper()}: {', '.join(sensor.display)}"),
        (axes[1], palette[ids], title),
    ):
        ax.imshow(image, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        ax.set_axis_off()
    *classes, no_data = rows
    patches = [
        Patch(facecolor=row["colour"], edgecolor="0.4", linewidth=0.5, label=f"{row['name']}  {row['percent']:.1f} %")
        for row in classes
        if row["pixels"]
    ]
    if no_data["pixels"]:
        patches.append(Patch(facecolor="white", edgecolor="0.4", linewidth=0.5, label=no_data["name"]))
    figure.legend(handles=patches, loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
