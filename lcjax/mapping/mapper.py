"""Maps whole scenes with a trained network: writes the map and its sidecar files."""

import dataclasses
import datetime
import json
import logging
import math
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from data_pipelines.geo import geodesy, raster_io
from data_pipelines.schema import limits, progress
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.engine import restore
from lcjax.mapping import areas, drafts, map_writer, outputs, polygons, preview, qgis_styles, stac
from lcjax.mapping.scene import Scene
from lcjax.ops.tiling import BLENDS, TileNetwork, Tiling, blended_strips, strip_bytes
from lcjax.parallel import mesh as meshes
from lcjax.runs import calibration as calibrations
from lcjax.runs.calibration import OFF, Calibration, percent
from lcjax.runs.model_card import Card
from lcjax.runs.timer import Timer, duration
from lcjax.version import __version__

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scene is mapped.

    Attributes:
      overlap: pixels that neighbouring tiles share; None is a quarter of a tile.
      blend: how their answers are mixed there, a name in `tiling.BLENDS`.
      confidence: whether to write the probability of the mapped class, too.
      probabilities: whether to write the probability of every class, too.
      conformal: coverage of the sets of classes that are written, too: 0.5 to 0.99 in whole percents; 0 for none.
      calibrated: whether what is written of probabilities is calibrated, where calibration.json is there.
      vector: whether to write the map as polygons, too.
      compress: compression of the GeoTIFFs, one of `map_writer.COMPRESSIONS`.
      batch_size: largest number of tiles in a call of the network on a device; the map does not depend on it.
      max_memory: bytes that one row of tiles may take.
    """

    overlap: int | None = None
    blend: str = "linear"
    confidence: bool = False
    probabilities: bool = False
    conformal: float = 0.0
    calibrated: bool = True
    vector: bool = False
    compress: str = "deflate"
    batch_size: int = 8
    max_memory: float = limits.STRIP_BYTES

    @property
    def tells(self) -> bool:
        """Whether anything of the probabilities is written."""
        return self.confidence or self.probabilities or bool(self.conformal)

    def products(self, legend: Legend) -> tuple[map_writer.Product, ...]:
        """Returns the GeoTIFFs of a map with these options, and its polygons."""
        return map_writer.products(
            legend,
            confidence=self.confidence,
            probabilities=self.probabilities,
            conformal=bool(self.conformal),
            vector=self.vector,
        )

    def check(self, tile: int, classes: int = 1) -> int:
        """Checks the options and returns the overlap in pixels.

        Args:
          tile: side of a tile in pixels.
          classes: number of classes.

        Raises:
          InputError: an option is out of range or unknown.
        """
        overlap = tile // 4 if self.overlap is None else self.overlap
        if not 0 <= overlap <= tile // 2:
            raise InputError(f"--overlap={overlap}: expected 0 to {tile // 2}, half a tile of {tile} pixels")
        if not 1 <= self.batch_size <= limits.MAX_BATCH:
            raise InputError(f"--batch_size={self.batch_size}: expected 1 to {limits.MAX_BATCH:,}")
        for name, value, known in (("blend", self.blend, BLENDS), ("compress", self.compress, map_writer.COMPRESSIONS)):
            if value not in known:
                raise InputError(f"--{name}={value}: expected one of {', '.join(known)}")
        if self.conformal:
            percent(self.conformal)
            if not self.calibrated:
                raise InputError(f"--conformal={self.conformal:g} with {OFF}: its thresholds are of calibrated answers")
            if classes > map_writer.MOST_IN_SETS:
                raise InputError(
                    f"--conformal={self.conformal:g}: found {classes} classes; expected at most "
                    f"{map_writer.MOST_IN_SETS}, a bit each; take --probabilities instead"
                )
        return overlap


@dataclasses.dataclass(frozen=True)
class Mapper:
    """A network that maps scenes.

    Attributes:
      card: gives the tile and the legend.
      probabilities: {sensor: (B, h, w, bands) stored numbers} -> (B, h, w, classes) float32; with a calibration
        (B, h, w, 2 * classes): those that make the map, and the calibrated ones that are told of it.
      identity: text that differs for every network; a map begun by another network is begun anew.
      tags: written to the maps.
      devices: number of devices that share a batch.
      calibration: of the network; None where its probabilities are told as they are.
    """

    card: Card
    probabilities: Callable
    identity: str
    tags: dict[str, str]
    devices: int = 1
    calibration: Calibration | None = None

    @classmethod
    def of_workdir(
        cls, folder: pathlib.Path, checkpoint: str, *, tta: bool = False, calibrated: bool = False
    ) -> "Mapper":
        """Restores the network of a workdir on all devices.

        Args:
          folder: the workdir.
          checkpoint: "best" or "last".
          tta: average the answers over flips and rotations (test-time augmentation).
          calibrated: tell calibrated probabilities, where calibration.json is there.

        Raises:
          InputError: there is no such network, or calibration.json is of another one.
        """
        trained = restore.restore(folder, checkpoint)
        table = calibrations.read(folder) if calibrated else None
        found = None if table is None else trained.calibration(table, folder, checkpoint)
        return cls.of_trained(trained, checkpoint, tta=tta, calibration=found)

    @classmethod
    def of_trained(
        cls,
        trained: restore.Trained,
        checkpoint: str,
        *,
        tta: bool = False,
        calibration: Calibration | None = None,
    ) -> "Mapper":
        """Puts a restored network on all devices; arguments as of `of_workdir`."""
        mesh = meshes.make_mesh(-1, 1, jax.device_count())
        card = trained.card
        if trained.task.scene_note:
            _log.info("note: %s", trained.task.scene_note)
        tags = {
            "LCJAX_MODEL": f"{card.model}, fusion {card.fusion}",
            "LCJAX_DATASET": card.dataset,
            "LCJAX_CHECKPOINT": f"{checkpoint}, step {trained.step}",
            "LCJAX_TTA": "flips and rotations" if tta else "none",
        }
        temperatures = calibration.temperatures if calibration else None
        answer = trained.probabilities(mesh, tta=tta, temperatures=temperatures)
        return cls(card, answer, f"{trained.fingerprint}, tta {tta}", tags, mesh.size, calibration)

    @property
    def network(self) -> Callable[[int], TileNetwork]:
        """The function batch size -> what answers for batches of tiles."""
        answers = len(self.card.legend.scored) * (2 if self.calibration else 1)
        return lambda size: TileNetwork(self.probabilities, answers, size * self.devices, self.devices)

    def map(
        self,
        scene: Scene,
        output: pathlib.Path,
        options: Options = Options(),
        *,
        date: datetime.datetime | None = None,
        timer: Timer | None = None,
    ) -> areas.Areas | None:
        """Writes the map of a scene and its sidecar files, and logs the area of each class.

        When it was killed at any moment, the same call resumes the map and ends in the same bytes.

        Args:
          scene: an open scene.
          output: the map; `outputs.check` was asked before.
          options: how the scene is mapped.
          date: when the scene was taken; None takes it from the scene's tags or name.
          timer: that counts where the time goes, for who wants to know.

        Returns:
          The pixels and areas of the classes, or None where the finished map was there already.

        Raises:
          InputError: the map cannot be written, another process is writing it, or the scene has changed meanwhile.
        """
        height, width = scene.grid.shape
        tiling = Tiling(height, width, self.card.tile, options.check(self.card.tile), options.blend)
        self._check_memory(scene, tiling, options)
        legend, timer = self.card.legend, timer or Timer()
        wanted = options.products(legend)
        time = date or stac.acquired(scene.tags, scene.layers[-1].path.name)
        plan = self._plan(scene, options, time)
        try:
            with drafts.alone(output):
                if map_writer.is_finished(output, plan, scene.files):
                    _log.info(
                        "%s: already mapped by this network from this scene; nothing to do (to map it anew, delete it "
                        "and what lies beside it)",
                        output,
                    )
                    drafts.discard(output)
                    return None
                outputs.check_foreign(output, wanted)
                outputs.check_room(output, height, width, wanted)
                with drafts.Draft(
                    output,
                    plan,
                    scene.files,
                    width=width,
                    layers=sum(product.planes for product in wanted),
                    boundaries=(*tiling.rows[0], height),
                ) as draft:
                    self._compute(scene, draft, tiling, wanted, options, timer)
                    with timer.measure("files"):
                        counted = self._write(scene, draft, wanted, plan, options, time)
        except map_writer.ERRORS as error:
            raise InputError(
                f"--output={output}: cannot be written ({' '.join(str(error).split())}); is the disk full, or the "
                "folder gone? When that is put right, the same command goes on where it was"
            ) from error
        spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in timer.seconds.items())
        _log.info("%s: %d x %d pixels mapped (%s); what lies beside it: docs/maps.md", output, width, height, spent)
        _log.info("%s", _table(counted.rows()))
        return counted

    def _plan(self, scene: Scene, options: Options, time: datetime.datetime | None) -> dict:
        """Returns all that the bytes of a map depend on, but for the files of the scene."""
        without = (
            "batch_size",
            "max_memory",
            "calibrated",
            *(name for name in ("conformal", "vector") if not getattr(options, name)),
        )
        told = {"calibration": self.calibration.digest} if self.calibration and options.tells else {}
        return told | {
            "lcjax": __version__,
            "network": self.identity,
            "scene": scene.fingerprint,
            "date": str(time),
            "options": {k: v for k, v in dataclasses.asdict(options).items() if k not in without},
        }

    def _check_memory(self, scene: Scene, tiling: Tiling, options: Options) -> None:
        """Raises InputError where a row of tiles would take more memory than the options allow."""
        dtypes = [layer.sensor.dtype for layer in scene.layers for _ in layer.indices]
        needed = strip_bytes(tiling, dtypes, self.network(1).classes)
        if needed > options.max_memory:
            raise InputError(
                f"{scene.layers[0].path}: {tiling.width:,} pixels wide: a row of tiles takes about {needed / 1e9:,.1f} "
                f"GB of memory, expected at most {options.max_memory / 1e9:,.1f}; cut the scene into narrower ones "
                f"(gdal_translate -srcwin), or allow it with --max_memory={math.ceil(needed / 1e9)}"
            )

    def _compute(self, scene, draft, tiling, wanted, options, timer) -> None:
        """Computes the rows that the draft lacks."""
        columns = len(tiling.columns[0])
        if draft.continued:
            _log.info("%s: goes on from row %d of %d", draft.output, draft.done, tiling.height)
        if draft.done == tiling.height:
            return
        begun = tiling.begin(draft.done) * columns
        legend = self.card.legend
        nodata = np.array([legend.nodata if p.kind == "classes" else IGNORE for p in wanted for _ in range(p.planes)])
        least = (
            self.calibration.thresholds[percent(options.conformal)] if self.calibration and options.conformal else ()
        )
        strips = blended_strips(
            scene.read,
            self.network(options.batch_size),
            map_writer.summary(legend, wanted, least),
            tiling,
            first=draft.done,
            advance=(bar := progress.bar(total=tiling.count, initial=begun, desc="predict", unit="tile")).update,
        )
        with bar:
            while True:
                with timer.measure("tiles"):
                    strip = next(strips, None)
                if strip is None:
                    break
                _, layers, valid = strip
                draft.append(np.where(valid[:, None], layers, nodata.astype(np.uint8)[:, None]))

    def _write(self, scene, draft, wanted, plan, options, time) -> areas.Areas:
        """Writes every file of the map into the draft, and moves them to their place."""
        output, legend, grid = draft.output, self.card.legend, scene.grid
        files = outputs.files_of(draft.files / output.name, wanted)
        if time is None:
            del files["item"]
            _log.info(
                "%s: no STAC item, for neither tags nor name of the scene tell its date; --date=2020-08-23 does", output
            )
        names = [path.name for path in files.values()]
        marked = map_writer.marks(plan, draft, names)
        counted = areas.Areas(legend, raster_io.crs_of(grid), grid.transform, grid.width)
        told = self._told(options)
        written = map_writer.write_products(draft, wanted, grid, legend, self.tags, marked, options.compress, told)
        for top, ids in written:
            counted.add(top, ids)
        rows = counted.rows()
        counted.write_csv(files["areas"])
        write_atomically(files["classes_style"], qgis_styles.class_qml(legend))
        pixels = {row["id"]: row["pixels"] for row in rows}
        write_atomically(files["names"], qgis_styles.sidecar(legend, pixels, scene.files.stamp))
        if "polygons" in files:
            crs = raster_io.crs_of(grid)
            polygons.write(files["polygons"], files["classes"], legend, crs, grid.transform)
        for product in (one for one in wanted[1:] if one.bands):
            is_set = product.kind == "conformal"
            style = qgis_styles.set_qml(len(legend.scored)) if is_set else qgis_styles.probability_qml()
            write_atomically(files[f"{product.kind}_style"], style)
        ids = map_writer.read_map(files["classes"], preview.LONGEST)
        preview.save(files["preview"], ids, scene.picture(*ids.shape), self.card, rows, output.name)
        if time is not None:
            item = self._item(scene, output, {role: path.name for role, path in files.items()}, time, told)
            write_atomically(files["item"], json.dumps(item, indent=1) + "\n")
        scene.files.check_unchanged(draft.content)
        outputs.check_foreign(output, wanted)  # in the hours since, somebody may have put something there
        replaced = map_writer.read_mark(output)
        draft.publish(names, replaced.files if replaced else ())
        return counted

    def _told(self, options: Options) -> dict[str, str]:
        """Returns the tags that tell of the probabilities: whether and by what they are calibrated."""
        if not options.tells:
            return {}
        told = {"LCJAX_CALIBRATION": self.calibration.summary if self.calibration else "none"}
        if self.calibration and options.conformal:
            least = self.calibration.thresholds[percent(options.conformal)]
            named = dict(zip(self.calibration.classes, least, strict=True))
            told |= {"LCJAX_COVERAGE": f"{options.conformal:g}", "LCJAX_THRESHOLDS": json.dumps(named)}
        return told

    def _item(self, scene, output, names: dict[str, str], time: datetime.datetime, told: dict[str, str]) -> dict:
        """Makes the STAC item of a map, of which these are the names by role."""
        roles = {"data": "classes", "style": "classes_style"} | {role: role for role in names}
        assets = {key: names[roles[key]] for key in stac.ASSETS if roles.get(key) in names}
        place, legend = _georeference(scene.grid), self.card.legend
        tags = self.tags | {key: text for key, text in told.items() if text != "none"}
        return stac.item(output.stem, time=time, place=place, legend=legend, tags=tags, assets=assets)


def _georeference(grid) -> stac.Georeference:
    """Returns where an open rasterio dataset lies."""
    transform = tuple(grid.transform)[:6]
    if (crs := raster_io.crs_of(grid)) is None:
        return stac.Georeference(grid.shape, transform)
    bbox, geometry = geodesy.footprint(crs, grid.transform, *grid.shape)
    code, wkt2 = geodesy.codes(crs)
    return stac.Georeference(grid.shape, transform, bbox, geometry, code, wkt2)


def _table(rows: list[dict]) -> str:
    """Formats class, pixels, percent of the mapped pixels and hectares as a table of text."""
    cells = [("class", "pixels", "percent", "hectares")]
    for row in rows:
        share, hectares = (("" if x is None else f"{x:,.{n}f}") for x, n in ((row["percent"], 1), (row["hectares"], 2)))
        cells.append((row["name"], f"{row['pixels']:,}", share, hectares))
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (f"{a:{width[0]}}  {b:>{width[1]}}  {c:>{width[2]}}  {d:>{width[3]}}" for a, b, c, d in cells)
    return "\n".join(line.rstrip() for line in lines)
