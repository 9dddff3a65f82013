"""A trained network over whole scenes: tiles in, a map and what lies beside it out."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

from data_pipelines.geo import geodesy
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import IGNORE
from lcjax import __version__
from lcjax.engine import restore
from lcjax.mapping import areas, map_writer, preview, qgis_styles, stac
from lcjax.mapping.scene import Scene
from lcjax.ops.tiling import BLENDS, Tiling, blended_strips
from lcjax.parallel import mesh as meshes
from lcjax.runs import workdir
from lcjax.runs.model_card import Card
from lcjax.runs.timer import Timer, duration


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scene is mapped.

    Attributes:
      overlap: pixels that neighbouring tiles share; None means a quarter of a tile.
      blend: how their answers are mixed there, of `tiles.BLENDS`.
      confidence, probabilities: whether to write these GeoTIFFs too.
      compress: of the GeoTIFFs, of `maps.COMPRESSIONS`.
      batch_size: most tiles in a call of the network and device; the map does not depend on it.
    """

    overlap: int | None = None
    blend: str = "linear"
    confidence: bool = False
    probabilities: bool = False
    compress: str = "deflate"
    batch_size: int = 8

    def check(self, tile: int) -> int:
        """The overlap to use for tiles of that edge. Raises InputError where a number cannot be."""
        overlap = tile // 4 if self.overlap is None else self.overlap
        if not 0 <= overlap <= tile // 2:
            raise InputError(f"--overlap={overlap}: expected 0 to {tile // 2}, half a tile of {tile} pixels")
        if self.batch_size < 1:
            raise InputError(f"--batch_size={self.batch_size}: expected at least 1")
        for name, value, known in (("blend", self.blend, BLENDS), ("compress", self.compress, map_writer.COMPRESSIONS)):
            if value not in known:
                raise InputError(f"--{name}={value}: expected one of {', '.join(known)}")
        return overlap


@dataclasses.dataclass(frozen=True)
class Mapper:
    """A network that maps scenes.

    Attributes:
      card: gives the tile and the legend.
      probabilities: {sensor: (B, h, w, bands) stored numbers} -> (B, h, w, classes) float32.
      identity: what tells this network from others; a map that was begun by another is begun anew.
      tags: noted in the maps.
      devices: that share a batch.
    """

    card: Card
    probabilities: Callable
    identity: str
    tags: dict[str, str]
    devices: int = 1

    @classmethod
    def of_workdir(cls, folder: pathlib.Path, checkpoint: str, *, tta: bool = False) -> "Mapper":
        """The network of a workdir, on all devices; with `tta` its answers are averaged over flips and rotations."""
        return cls.of_trained(restore.restore(folder, checkpoint), checkpoint, tta=tta)

    @classmethod
    def of_trained(cls, trained: restore.Trained, checkpoint: str, *, tta: bool = False) -> "Mapper":
        """A restored network, on all devices; arguments as of `of_workdir`."""
        mesh = meshes.make_mesh(-1, 1, jax.device_count())
        card = trained.card
        if trained.task.scene_note:
            workdir.say(f"note: {trained.task.scene_note}")
        tags = {
            "LCJAX_MODEL": f"{card.model}, fusion {card.fusion}",
            "LCJAX_DATASET": card.dataset,
            "LCJAX_CHECKPOINT": f"{checkpoint}, step {trained.step}",
            "LCJAX_TTA": "flips and rotations" if tta else "none",
        }
        return cls(card, trained.probabilities(mesh, tta=tta), f"{trained.fingerprint}, tta {tta}", tags, mesh.size)

    def map(
        self,
        scene: Scene,
        output: pathlib.Path,
        options: Options = Options(),
        *,
        date: datetime.datetime | None = None,
        say: Callable[[str], None] = print,
    ) -> areas.Areas | None:
        """Writes the map of a scene and what lies beside it; says where, and how much of each class.

        Killed at any moment and called again with the same arguments, it goes on and ends in the same bytes.

        Args:
          output: the map; see `maps.check_output`.
          date: when the scene was taken; None leaves it to the scene's tags and name.
          say: takes each line of the summary.

        Returns the pixels and areas of the classes, or None where the map had been there already. Raises InputError
        where it cannot be written.
        """
        height, width = scene.grid.shape
        tiling = Tiling(height, width, self.card.tile, options.check(self.card.tile), options.blend)
        plan = {
            "lcjax": __version__,
            "network": self.identity,
            "scene": scene.fingerprint,
            "date": str(date),
            "options": {k: v for k, v in dataclasses.asdict(options).items() if k != "batch_size"},
        }
        if map_writer.is_finished(output, plan):
            say(f"{output}: already mapped by this network from this scene; nothing to do (delete it to map it anew)")
            map_writer.forget(output)
            return None
        legend, clock = self.card.legend, Timer()
        wanted = map_writer.products(legend, confidence=options.confidence, probabilities=options.probabilities)
        map_writer.check_room(output, height, width, wanted)
        try:
            with map_writer.Draft(
                output,
                plan,
                width=width,
                layers=sum(len(product.bands) for product in wanted),
                boundaries=(*tiling.rows[0], height),
            ) as draft:
                self._compute(scene, draft, tiling, wanted, options, clock, say)
                with clock.measure("files"):
                    found = self._write(scene, draft, wanted, plan, options, date, say)
                    draft.publish()
        except map_writer.ERRORS as error:
            raise InputError(
                f"--output={output}: cannot be written ({' '.join(str(error).split())}); is the disk full, or the "
                "folder gone? When that is put right, the same command goes on where it was"
            ) from error
        spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in clock.seconds.items())
        say(f"{output}: {width} x {height} pixels mapped ({spent}); what lies beside it: docs/maps.md")
        say(_table(found.rows()))
        return found

    def _compute(self, scene, draft, tiling, wanted, options, clock, say) -> None:
        """Adds the rows that the draft lacks."""
        columns = len(tiling.columns[0])
        if draft.continued:
            say(f"{draft.output}: goes on from row {draft.done} of {tiling.height}")
        if draft.done == tiling.height:
            return
        begun = tiling.begin(draft.done) * columns
        strips = blended_strips(
            scene.read,
            self.probabilities,
            map_writer.summary(self.card.legend, wanted),
            tiling,
            classes=len(self.card.legend.scored),
            batch_size=options.batch_size * self.devices,
            multiple=self.devices,
            first=draft.done,
            advance=(bar := tqdm(total=tiling.count, initial=begun, desc="predict", unit="tile")).update,
        )
        with bar:
            while True:
                with clock.measure("tiles"):
                    strip = next(strips, None)
                if strip is None:
                    break
                _, layers, valid = strip
                draft.append(np.where(valid[:, None], layers, np.uint8(IGNORE)))

    def _write(self, scene, draft, wanted, plan, options, date, say) -> areas.Areas:
        """Makes every file of the map in the draft's folder."""
        output, legend, grid = draft.output, self.card.legend, scene.grid
        beside = draft.folder / output.name
        found = areas.Areas(legend, grid.crs, grid.transform, grid.width)
        for top, ids in map_writer.write_products(draft, wanted, grid, legend, self.tags, plan, options.compress):
            found.add(top, ids)
        found.write_csv(beside.with_suffix(".areas.csv"))
        write_atomically(beside.with_suffix(".qml"), qgis_styles.class_qml(legend))
        names = {land_class.id: land_class.name for land_class in legend.scored}
        write_atomically(beside.with_name(f"{beside.name}.aux.xml"), qgis_styles.category_names(names))
        for product in wanted[1:]:
            write_atomically(product.path(beside).with_suffix(".qml"), qgis_styles.share_qml())
        ids = map_writer.read_map(beside, preview.EDGE)
        preview.save(beside.with_suffix(".png"), ids, scene.picture(*ids.shape), self.card, found.rows(), output.name)
        time = date or stac.acquired(scene.tags, scene.layers[-1].path.name)
        if time is None:
            say(f"{output}: no STAC item, for neither tags nor name of the scene tell its date; --date=2020-08-23 does")
        else:
            item = self._item(scene, output, wanted, time)
            write_atomically(beside.with_suffix(".json"), json.dumps(item, indent=1) + "\n")
        return found

    def _item(self, scene, output, wanted, time: datetime.datetime) -> dict:
        """The STAC item of a map."""
        grid = scene.grid
        assets = {
            "data" if product.kind == "classes" else product.kind: product.path(output).name for product in wanted
        }
        for key, suffix in (("preview", ".png"), ("areas", ".areas.csv"), ("style", ".qml")):
            assets[key] = output.with_suffix(suffix).name
        place = dict.fromkeys(("bbox", "geometry", "code", "wkt2"))
        if grid.crs is not None:
            place["bbox"], place["geometry"] = geodesy.footprint(grid.crs, grid.transform, *grid.shape)
            place["code"], place["wkt2"] = geodesy.codes(grid.crs)
        return stac.item(
            output.stem,
            time=time,
            **place,
            shape=grid.shape,
            transform=tuple(grid.transform)[:6],
            legend=self.card.legend,
            tags=self.tags,
            assets=assets,
        )


def _table(rows: list[dict]) -> str:
    """Class, pixels, percent of the mapped pixels and hectares, for people."""
    cells = [("class", "pixels", "percent", "hectares")]
    for row in rows:
        share, hectares = (("" if x is None else f"{x:,.{n}f}") for x, n in ((row["percent"], 1), (row["hectares"], 2)))
        cells.append((row["name"], f"{row['pixels']:,}", share, hectares))
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(f"{a:{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}".rstrip() for a, b, c, d in cells)
