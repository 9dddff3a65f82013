"""Maps whole scenes with a trained network: writes the map and its sidecar files."""

import dataclasses
import datetime
import functools
import json
import logging
import math
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from data_pipelines.schema import progress
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.mapping import areas, drafts, map_files, map_writer, stac
from lcjax.mapping.options import Options
from lcjax.mapping.scene import Scene
from lcjax.ops.tiling import TileNetwork, Tiling, blended_strips, strip_bytes
from lcjax.parallel import mesh as meshes
from lcjax.runs import calibration as calibrations
from lcjax.runs.calibration import Calibration, percent
from lcjax.runs.model_card import Card
from lcjax.runs.timer import Timer
from lcjax.version import __version__

_log = logging.getLogger(__name__)

_DEFAULTS = Options()


@dataclasses.dataclass(frozen=True)
class Mapper:
    """A network that maps scenes.

    Attributes:
      card: gives the tile and the legend.
      probabilities: {sensor: (B, h, w, bands) stored numbers} -> (B, h, w, classes) float32; with a calibration
        (B, h, w, 2 * classes): those that make the map, and the calibrated ones that are told of it. Of an ensemble
        the mutual information follows at last.
      identity: text that differs for every network; a map begun by another network is begun anew.
      tags: written to the maps.
      devices: number of devices that share a batch.
      calibration: of the network; None where its probabilities are told as they are.
      members: number of networks whose mean this is.
      with_valid: whether `probabilities` also takes where each sensor holds data, as `Scene.read` gives it.
    """

    card: Card
    probabilities: Callable
    identity: str
    tags: dict[str, str]
    devices: int = 1
    calibration: Calibration | None = None
    members: int = 1
    with_valid: bool = False

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
        answers = len(self.card.legend.scored) * (2 if self.calibration else 1) + (self.members > 1)
        return lambda size: TileNetwork(self.probabilities, answers, size * self.devices, self.devices)

    def map(
        self,
        scene: Scene,
        output: pathlib.Path,
        options: Options = _DEFAULTS,
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
        if options.mosaic:
            raise InputError(
                f"mosaic={options.mosaic!r}: of many scenes, and this is one; take `lcjax predict --mosaic`"
            )
        time = date or stac.acquired(scene.tags, scene.layers[-1].path.name)
        mapped = map_files.Mapped(
            grid=scene.grid,
            files=scene.files,
            plan=self.plan(scene, options, time),
            tags=self.tags | (scene.area.tags if scene.area else {}),
            told=self.told(options),
            times=(time, time) if time else None,
            picture=scene.picture,
        )
        wanted, drafted = options.products(self.card.legend), options.drafted(self.card.legend)
        self.check_memory(scene, options)
        return map_files.make(
            output,
            mapped,
            self.card,
            options,
            wanted,
            drafted,
            boundaries=self.boundaries(scene, options),
            compute=lambda draft, timer: self.compute(scene, draft, drafted, options, timer),
            timer=timer or Timer(),
        )

    def _tiling(self, scene: Scene, options: Options) -> Tiling:
        height, width = scene.grid.shape
        return Tiling(height, width, self.card.tile, options.check(self.card.tile), options.blend)

    def boundaries(self, scene: Scene, options: Options) -> Sequence[int]:
        """The rows of a scene at which its map can be resumed, and the end."""
        return *self._tiling(scene, options).rows[0], scene.grid.height

    def check_memory(self, scene: Scene, options: Options) -> None:
        """Raises InputError where a row of tiles would take more memory than the options allow."""
        tiling = self._tiling(scene, options)
        dtypes = [layer.sensor.dtype for layer in scene.layers for _ in layer.indices]
        needed = strip_bytes(tiling, dtypes, self.network(1).classes)
        if needed > options.max_memory:
            raise InputError(
                f"{scene.layers[0].path}: {tiling.width:,} pixels wide: a row of tiles takes about {needed / 1e9:,.1f} "
                f"GB of memory, expected at most {options.max_memory / 1e9:,.1f}; cut the scene into narrower ones "
                f"(gdal_translate -srcwin), or allow it with --max_memory={math.ceil(needed / 1e9)}"
            )

    def plan(self, scene: Scene, options: Options, time: datetime.datetime | None) -> dict:
        """Returns all that the bytes of a map depend on, but for the files of the scene."""
        area = {"area": scene.area.plan} if scene.area else {}
        return self.network_plan(options) | area | {"scene": scene.fingerprint, "date": str(time)}

    def network_plan(self, options: Options) -> dict:
        """Returns what the bytes of a map depend on beside its scenes."""
        told = {"calibration": self.calibration.digest} if self.calibration and options.tells else {}
        return told | {"lcjax": __version__, "network": self.identity, "options": options.plan}

    def compute(
        self, scene: Scene, draft: drafts.Draft, drafted: Sequence[map_writer.Product], options: Options, timer: Timer
    ) -> None:
        """Computes the rows that a draft lacks of a scene: the planes of the products `drafted`.

        Raises InputError where the options ask for what one network does not tell, or leave out what several do.
        """
        if options.mutual_information != (self.members > 1):
            raise InputError(
                f"mutual_information={options.mutual_information}: found {self.members} networks; it is written of "
                "several, and of them always"
            )
        tiling = self._tiling(scene, options)
        columns = len(tiling.columns[0])
        if draft.continued:
            _log.info("%s: goes on from row %d of %d", draft.output, draft.done, tiling.height)
        if draft.done == tiling.height:
            return
        begun = tiling.begin(draft.done) * columns
        legend = self.card.legend
        nodata = map_writer.empty_planes(legend, drafted)
        least = (
            self.calibration.thresholds[percent(options.conformal)] if self.calibration and options.conformal else ()
        )
        strips = blended_strips(
            functools.partial(scene.read, with_valid=self.with_valid),
            self.network(options.batch_size),
            map_writer.summary(legend, drafted, least),
            tiling,
            first=draft.done,
            advance=(bar := progress.bar(total=tiling.count, initial=begun, desc="predict", unit=" tiles")).update,
        )
        with bar:
            while True:
                with timer.measure("tiles"):
                    strip = next(strips, None)
                if strip is None:
                    break
                _, layers, valid = strip
                draft.append(np.where(valid[:, None], layers, nodata[:, None]))

    def told(self, options: Options) -> dict[str, str]:
        """Returns the tags that tell of the probabilities: whether and by what they are calibrated."""
        if not options.tells:
            return {}
        told = {"LCJAX_CALIBRATION": self.calibration.summary if self.calibration else "none"}
        if self.calibration and options.conformal:
            least = self.calibration.thresholds[percent(options.conformal)]
            named = dict(zip(self.calibration.classes, least, strict=True))
            told |= {"LCJAX_COVERAGE": f"{options.conformal:g}", "LCJAX_THRESHOLDS": json.dumps(named)}
        return told
