"""Makes a map of the rows of its draft: writes every file of it, reads it back, and moves all to their place."""

import contextlib
import dataclasses
import datetime
import json
import logging
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import raster_io
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.mapping import areas, drafts, map_writer, outputs, polygons, preview, qgis_styles, sieve, stac
from lcjax.mapping.map_writer import Product
from lcjax.mapping.options import Options
from lcjax.mapping.scene_files import SceneFiles
from lcjax.runs.model_card import Card
from lcjax.runs.timer import Timer, duration

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Mapped:
    """What a map is of: a scene, or a mosaic of several.

    Attributes:
      grid: an open rasterio dataset, or a `Grid`, whose CRS, transform, width and height the map takes over.
      files: that it is read from.
      plan: all that the bytes of the map depend on, but for the files; JSON.
      tags: of all rasters.
      told: further tags of those that tell of probabilities.
      times: the first and the last that it was taken at; None where that is not known.
      picture: gives it in so many rows and columns, (h, w, 3) uint8.
      beside: role of a further file, as `outputs.files_of` names it -> what gives its text, from the draft.
      styles: kind of a product -> its QML, where it is none of those of every map.
    """

    grid: Any
    files: SceneFiles
    plan: dict
    tags: Mapping[str, str]
    told: Mapping[str, str]
    times: tuple[datetime.datetime, datetime.datetime] | None
    picture: Callable[[int, int], np.ndarray]
    beside: Mapping[str, Callable[[drafts.Draft], str]] = dataclasses.field(default_factory=dict)
    styles: Mapping[str, str] = dataclasses.field(default_factory=dict)


def make(
    output: pathlib.Path,
    mapped: Mapped,
    card: Card,
    options: Options,
    wanted: Sequence[Product],
    drafted: Sequence[Product],
    *,
    boundaries: Iterable[int],
    compute: Callable[[drafts.Draft, Timer], None],
    timer: Timer,
    more_bytes: int = 0,
) -> areas.Areas | None:
    """Makes a map and what lies beside it, and logs the area of each class.

    Args:
      output: the map; `outputs.check` was asked before.
      mapped: what it is of.
      card: of the network.
      options: how it is mapped.
      wanted: its GeoTIFFs.
      drafted: the products whose planes the draft holds, those of `wanted` among them.
      boundaries: rows at which `compute` can go on.
      compute: appends to the draft the rows that it lacks.
      timer: counts where the time goes.
      more_bytes: that `compute` writes on the way.

    Returns:
      The pixels and areas of the classes, or None where the finished map was there already.

    Raises:
      InputError: the map cannot be written, another process is writing it, or a scene has changed meanwhile.
    """
    height, width = mapped.grid.shape
    with _writing(output):
        if map_writer.is_finished(output, mapped.plan, mapped.files):
            _log.info(
                "%s: already mapped by this network from this scene; nothing to do (to map it anew, delete it "
                "and what lies beside it)",
                output,
            )
            drafts.discard(output)
            return None
        outputs.check_foreign(output, wanted)
        sieved = sieve.SCRATCH_BYTES * height * width if options.sieve else 0
        outputs.check_room(output, height, width, wanted, drafted, sieved + more_bytes)
        layers = sum(product.planes for product in drafted)
        with drafts.Draft(
            output, mapped.plan, mapped.files, width=width, layers=layers, boundaries=boundaries
        ) as draft:
            compute(draft, timer)
            with timer.measure("files"):
                counted = _write(draft, mapped, card, options, wanted, drafted)
    spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in timer.seconds.items())
    rows = counted.rows()
    known = sum(row["pixels"] for row in rows[:-1])
    some = "" if known == width * height else f"{known:,} of "
    _log.info("%s: %s%d x %d pixels mapped (%s); what lies beside it: docs/maps.md", output, some, width, height, spent)
    if not known:
        _log.warning("%s: holds no data alone: no pixel of the scene was to be mapped", output)
    _log.info("%s", areas.table(rows))
    return counted


@contextlib.contextmanager
def _writing(output: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from a map, and says in one line where it cannot be written."""
    try:
        with drafts.alone(output):
            yield
    except map_writer.ERRORS as error:
        raise InputError(
            f"--output={output}: cannot be written ({' '.join(str(error).split())}); is the disk full, or the "
            "folder gone? When that is put right, the same command goes on where it was"
        ) from error


def _write(
    draft: drafts.Draft,
    mapped: Mapped,
    card: Card,
    options: Options,
    wanted: Sequence[Product],
    drafted: Sequence[Product],
) -> areas.Areas:
    """Writes every file of the map into the draft, and moves them to their place."""
    output, legend, grid = draft.output, card.legend, mapped.grid
    files = outputs.files_of(draft.files / output.name, wanted)
    if mapped.times is None:
        del files["item"]
        _log.info(
            "%s: no STAC item, for neither tags nor name of the scene tell its date; --date=2020-08-23 does", output
        )
    names = [path.name for path in files.values()]
    marked = map_writer.marks(mapped.plan, draft, names)
    counted = areas.Areas(legend, raster_io.crs_of(grid), grid.transform, grid.width)
    tags = dict(mapped.tags)
    read: Callable[[int, int], np.ndarray] = draft.read
    if options.sieve:
        tags["LCJAX_SIEVE"] = sieve.told(options.sieve)
        read = sieve.reader(draft, drafted, legend, grid.shape, options.sieve)
    written = map_writer.write_products(
        draft, wanted, grid, legend, tags, marked, options.compress, mapped.told, read, drafted
    )
    for top, ids in written:
        counted.add(top, ids)
    rows = counted.rows()
    counted.write_csv(files["areas"])
    for role, text in mapped.beside.items():
        write_atomically(files[role], text(draft))
    _write_styles(files, card, wanted, mapped.styles)
    pixels = {row["id"]: row["pixels"] for row in rows}
    write_atomically(files["names"], qgis_styles.sidecar(legend, pixels, mapped.files.stamp))
    if "polygons" in files:
        polygons.write(files["polygons"], files["classes"], legend, raster_io.crs_of(grid), grid.transform)
    ids = map_writer.read_map(files["classes"], preview.LONGEST)
    preview.save(files["preview"], ids, mapped.picture(*ids.shape), card, rows, output.name)
    if mapped.times is not None:
        item = _item(mapped, output, card, {role: path.name for role, path in files.items()}, tags)
        write_atomically(files["item"], json.dumps(item, indent=1) + "\n")
    mapped.files.check_unchanged(draft.content)
    outputs.check_foreign(output, wanted)  # in the hours since, somebody may have put something there
    replaced = map_writer.read_mark(output)
    draft.publish(names, replaced.files if replaced else ())
    return counted


def _write_styles(
    files: Mapping[str, pathlib.Path], card: Card, wanted: Sequence[Product], styles: Mapping[str, str]
) -> None:
    """Writes the style of each raster."""
    of_kind = dict(styles) | {
        "classes": qgis_styles.class_qml(card.legend),
        "conformal": qgis_styles.set_qml(len(card.legend.scored)),
    }
    for product in (one for one in wanted if one.bands):
        style = of_kind.get(product.kind) or qgis_styles.probability_qml()
        write_atomically(files[f"{product.kind}_style"], style)


def _item(mapped: Mapped, output: pathlib.Path, card: Card, names: Mapping[str, str], tags: Mapping[str, str]) -> dict:
    """Makes the STAC item of a map, of which these are the names by role."""
    assert mapped.times is not None
    roles = {"data": "classes", "style": "classes_style"} | {role: role for role in names}
    assets = {key: names[roles[key]] for key in stac.ASSETS if roles.get(key) in names}
    told = dict(tags) | {key: text for key, text in mapped.told.items() if text != "none"}
    first, last = mapped.times
    return stac.item(
        output.stem,
        time=first,
        until=last,
        place=stac.place_of(mapped.grid),
        legend=card.legend,
        tags=told,
        assets=assets,
    )
