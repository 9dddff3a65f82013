"""The verb `predict`: a land-cover map of a whole scene, by the network of a workdir."""

import pathlib
import re
from collections.abc import Callable
from xml.sax import saxutils

import numpy as np
from tqdm import tqdm

from data_pipelines.bands import SENSORS, Sensor, canonical
from data_pipelines.errors import InputError
from data_pipelines.legends import IGNORE, Legend
from lcjax.card import Card
from lcjax.tiles import Inputs, blended_strips, tile_count

HELP = """Map a whole scene with a trained network.

  lcjax predict --workdir=runs/unet --scene=s1=radar.tif,s2=optical.tif --bands=s1,s2 --output=maps/town.tif
  lcjax predict --workdir=runs/s2only --scene=optical.tif --offset=-1000 --output=maps/town.tif

A scene is a GeoTIFF in any coordinate system with about the pixel size that the network was trained on; two sensors
are two files on one grid. Sentinel-2 comes as digital numbers (reflectance x 10000), Sentinel-1 as dB. Bands are
found by the names in the file; where it names none, give them with --bands. Numbers of Sentinel-2 products since
January 2022 (processing baseline 04.00) lie 1000 too high for networks trained on SEN12MS or DFC2020: it is taken off
where the metadata tells of it or --offset=-1000 does, and a scene that looks so and says nothing is refused.

Pixels without data (no-data value, mask, NaN, or 0 in every band of a sensor) are 255 in the map. Beside the map
(a cloud-optimised GeoTIFF with the legend's ids, names and colours) lie OUTPUT.tif.aux.xml (class names for GDAL),
OUTPUT.qml (style for QGIS) and OUTPUT.png (a picture to look at)."""
_EDGE = 900  # pixels of the longer side of each picture in the preview
_EXAMPLE = "lcjax predict --workdir=runs/unet --scene=scene.tif --output=map.tif"


def define_flags(flags) -> None:
    """Defines the verb's flags on `flags` (absl.flags)."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("scene", None, "GeoTIFF to map; for two sensors s1=FILE,s2=FILE.")
    flags.DEFINE_string("output", None, "Map to write, a name that ends in .tif.")
    flags.DEFINE_list(
        "bands", [], "Band names in file order where the file names none; a sensor's name (s1, s2) means all its bands."
    )
    flags.DEFINE_float("offset", None, "Number added to the digital numbers of Sentinel-2, e.g. -1000.")
    flags.DEFINE_integer("overlap", None, "Pixels that neighbouring tiles share; by default a quarter of a tile.")
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")
    flags.DEFINE_integer("batch_size", 8, "Tiles in one call of the network; the map does not depend on it.")


def run(flags) -> None:
    """Maps the scene that `flags` (absl.flags.FLAGS, parsed) name. Raises InputError where something does not fit."""
    for name in ("workdir", "scene", "output"):
        if not getattr(flags, name):
            raise InputError(f"--{name}: not given; expected all of --workdir, --scene, --output, e.g. `{_EXAMPLE}`")
    from lcjax import card as cards
    from lcjax import scene as scenes

    # What can be refused is refused before the network is restored: that takes a while.
    workdir, output = pathlib.Path(flags.workdir), pathlib.Path(flags.output)
    card = cards.read(workdir)
    files, bands = parse_scene(flags.scene, card.sensors), parse_bands(flags.bands)
    check_tiling(card.tile, flags.overlap, flags.batch_size)
    scenes.prepare_output(output, files.values())
    with scenes.open_scene(card, files, bands=bands, offset=flags.offset) as scene:
        from lcjax.restore import restore

        trained = restore(workdir, flags.checkpoint)
        map_scene(
            trained.card,
            trained.probabilities,
            scene,
            output,
            overlap=flags.overlap,
            batch_size=flags.batch_size,
            tags={"LCJAX_CHECKPOINT": f"{flags.checkpoint}, step {trained.step}"},
        )


def map_scene(
    card: Card,
    probabilities: Callable[[Inputs], np.ndarray],
    scene,
    output: pathlib.Path,
    *,
    overlap: int | None = None,
    batch_size: int = 8,
    tags: dict[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> np.ndarray:
    """Writes the map of a scene, its class names, QGIS style and preview; says where, and how much of each class.

    Args:
      card: gives the tile, the legend and what is noted in the map's tags.
      probabilities: {sensor: (B, h, w, bands) stored integers} -> (B, h, w, classes) float32.
      scene: a lcjax.scene.Scene.
      output: the map; see lcjax.scene.prepare_output.
      overlap: pixels that tiles share; None means a quarter of a tile.
      batch_size: most tiles in a call; the map does not depend on it.
      tags: more of them for the map.
      say: takes each line of the summary.

    Returns the number of pixels of each id, (256,) int64. Raises InputError where the map cannot be written.
    """
    from lcjax import scene as scenes

    overlap = check_tiling(card.tile, overlap, batch_size)
    height, width = scene.grid.shape
    ids = card.legend.id_of_index()
    with tqdm(total=tile_count(height, width, card.tile, overlap), desc="predict", unit="tile") as bar:
        strips = blended_strips(
            scene.read,
            probabilities,
            height=height,
            width=width,
            classes=len(card.legend.scored),
            tile=card.tile,
            overlap=overlap,
            batch_size=batch_size,
            advance=bar.update,
        )
        counts = scenes.write_map(
            output,
            scene,
            card.legend,
            (
                (first, np.where(valid, ids[values.argmax(-1)], IGNORE).astype(np.uint8))
                for first, values, valid in strips
            ),
            {"LCJAX_MODEL": f"{card.model}, fusion {card.fusion}", "LCJAX_DATASET": card.dataset} | (tags or {}),
        )
    style, preview = output.with_suffix(".qml"), output.with_suffix(".png")
    try:
        style.write_text(qgis_style(card.legend), encoding="utf-8")
        save_preview(preview, scenes.read_map(output, _EDGE), scene.picture(_EDGE), card, counts, output.name)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be written ({error.strerror}); the map {output} is whole"
        ) from error
    for what, path in (("map", output), ("names", f"{output}.aux.xml"), ("style", style), ("preview", preview)):
        say(f"{what:8}{path}")
    say(class_table(card.legend, counts))
    return counts


# ---- the flags' texts -----------------------------------------------------------------------------------------------


def parse_scene(text: str, sensors: tuple[Sensor, ...]) -> dict[str, pathlib.Path]:
    """`FILE` or `s1=FILE,s2=FILE` -> {sensor name: path}; one sensor may go without its name.

    Raises InputError unless it names one file for each of `sensors`.
    """
    names = "|".join(SENSORS)
    parts = re.split(rf",(?=(?:{names})=)", text)
    pairs = [part.split("=", 1) if re.match(rf"(?:{names})=", part) else ["", part] for part in parts]
    if len(sensors) == 1 and not pairs[0][0]:
        pairs[0][0] = sensors[0].name
    found, wanted = [name for name, _ in pairs], [sensor.name for sensor in sensors]
    if sorted(found) != sorted(wanted) or not all(path for _, path in pairs):
        raise InputError(
            f"--scene={text}: expected a file for each sensor that the network takes; "
            f"give --scene={','.join(f'{name}=FILE' for name in wanted)}"
        )
    return {name: pathlib.Path(path) for name, path in pairs}


def parse_bands(words: list[str]) -> list[str]:
    """Band names as the tables spell them; a sensor's name stands for all its bands. Raises InputError for others."""
    names: list[str] = []
    for word in (word.strip() for word in words):
        known = canonical(word)
        if word in SENSORS:
            names += SENSORS[word].bands
        elif known:
            names.append(known)
        else:
            tables = "; ".join(f"{sensor.name} = {','.join(sensor.bands)}" for sensor in SENSORS.values())
            raise InputError(f"--bands: {word!r} is no band; expected names in file order, of: {tables}")
    return names


def check_tiling(tile: int, overlap: int | None, batch_size: int) -> int:
    """The overlap to use, by default a quarter of a tile. Raises InputError where a number cannot be."""
    overlap = tile // 4 if overlap is None else overlap
    if not 0 <= overlap <= tile // 2:
        raise InputError(f"--overlap={overlap}: expected 0 to {tile // 2}, half a tile of {tile} pixels")
    if batch_size < 1:
        raise InputError(f"--batch_size={batch_size}: expected at least 1")
    return overlap


# ---- what lies beside the map ---------------------------------------------------------------------------------------


def class_table(legend: Legend, counts: np.ndarray) -> str:
    """Class, pixels and percent of the mapped pixels, one line a class of the network."""
    mapped = max(1, sum(counts[c.id] for c in legend.scored))
    rows = [(c.name, int(counts[c.id]), f"{100 * counts[c.id] / mapped:.1f}") for c in legend.scored]
    rows.append(("no data", int(counts[IGNORE]), ""))
    wide = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{a:{wide}}  {b:>12}  {c:>7}" for a, b, c in [("class", "pixels", "percent"), *rows])


def qgis_style(legend: Legend) -> str:
    """A style that QGIS picks up with the map: the legend's colours and names."""
    entries = "\n".join(
        f'    <paletteEntry value="{c.id}" label={saxutils.quoteattr(c.name)} color="{c.colour}" alpha="255"/>'
        for c in legend.scored
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
 <pipe>
  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">
   <colorPalette>
{entries}
   </colorPalette>
  </rasterrenderer>
 </pipe>
</qgis>
"""


def save_preview(
    path: pathlib.Path, ids: np.ndarray, picture: np.ndarray, card: Card, counts: np.ndarray, title: str
) -> None:
    """The scene beside its map, with the classes that occur and their share.

    Args:
      path: PNG to write.
      ids: the map, (h, w) uint8 legend ids, 255 where there is no data.
      picture: the scene, (h, w, 3) uint8.
      card: gives the legend and the sensor that is pictured.
      counts: pixels of each id in the whole map, (256,).
      title: of the map.
    """
    from matplotlib.figure import Figure  # no pyplot: no window system, no global state
    from matplotlib.patches import Patch

    palette = card.legend.palette()
    palette[IGNORE] = 255
    height, width = ids.shape
    below = width > 1.6 * height  # wide scenes stand above each other
    panel = 5.2
    size = (panel * min(1, width / height), panel * min(1, height / width))
    figure = Figure(
        figsize=(size[0] + 2.6, 2 * size[1] + 1.0) if below else (2 * size[0] + 2.8, size[1] + 0.8),
        layout="constrained",
    )
    axes = figure.subplots(2, 1) if below else figure.subplots(1, 2)
    sensor = card.sensors[-1]
    for ax, image, name in (
        (axes[0], picture, f"{sensor.name.upper()}: {', '.join(sensor.display)}"),
        (axes[1], palette[ids], title),
    ):
        ax.imshow(image, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        ax.set_axis_off()
    present = [c for c in card.legend.scored if counts[c.id]]
    total = max(1, sum(counts[c.id] for c in present))
    patches = [
        Patch(facecolor=c.colour, edgecolor="0.4", linewidth=0.5, label=f"{c.name}  {100 * counts[c.id] / total:.1f} %")
        for c in present
    ]
    if counts[IGNORE]:
        patches.append(Patch(facecolor="white", edgecolor="0.4", linewidth=0.5, label="no data"))
    figure.legend(handles=patches, loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
