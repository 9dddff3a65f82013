"""Land-cover maps of one scene or of many, by the network of a workdir."""

import dataclasses
import datetime
import functools
import logging
import pathlib
from collections.abc import Sequence

from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.mapping import map_writer, scene, scene_list
from lcjax.mapping.mapper import Mapper, Options
from lcjax.parallel import multihost

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SceneOptions:
    """What the files of scenes do not say of themselves.

    Attributes:
      bands: names in file order, for files that name none.
      offset: number added to the digital numbers of Sentinel-2; None takes it from the metadata.
      grid: name of the sensor onto whose grid the others are warped; "" expects that all have one grid.
      date: when the scenes were taken; None takes it from their tags or names.
    """

    bands: Sequence[str] = ()
    offset: float | None = None
    grid: str = ""
    date: datetime.datetime | None = None


def map_scenes(
    workdir: pathlib.Path,
    scenes: str,
    output: pathlib.Path,
    options: Options,
    scene_options: SceneOptions = SceneOptions(),
    *,
    checkpoint: str = "best",
    tta: bool = False,
) -> None:
    """Maps one scene or many.

    A bad scene of several does not keep the others from being mapped; the error at the end names it.

    Args:
      workdir: of the network.
      scenes: text of --scene, see `scene_list.jobs`.
      output: the map, or the folder of the maps.
      options: how scenes are mapped.
      scene_options: how their files are read.
      checkpoint: "best" or "last".
      tta: average the answers over flips and rotations.

    Raises:
      InputError: something does not fit, or a scene was not mapped.
    """
    # Refuse what can be refused before restoring the network, which takes a while.
    card = restore.card_of(workdir, checkpoint)
    todo = scene_list.jobs(scenes, card.sensors, output)
    bands = scene_list.parse_bands(scene_options.bands, card.sensors)
    offset, grid, date = scene_options.offset, scene_options.grid, scene_options.date
    options.check(card.tile)
    mapper = functools.cache(lambda: Mapper.of_workdir(workdir, checkpoint, tta=tta))
    failed: list[str] = []
    with multihost.leader_section(lambda: mapper().probabilities) as leads:
        for number, job in enumerate(todo if leads else [], 1):
            if len(todo) > 1:
                _log.info("scene %d of %d: %s", number, len(todo), ", ".join(map(str, job.files.values())))
            try:
                map_writer.check_output(job.output, job.files.values())
                with scene.open_scene(card, job.files, bands=bands, offset=offset, grid=grid) as opened:
                    mapper().map(opened, job.output, options, date=date)
            except InputError as error:
                if len(todo) == 1:
                    raise
                failed.append(str(error))
                _log.info("not mapped: %s", error)
        if failed:
            raise InputError(f"{len(failed)} of {len(todo)} scenes were not mapped; the first: {failed[0]}")


def parse_date(text: str | None) -> datetime.datetime | None:
    """Parses a date or a time in ISO 8601, in UTC where it names no zone.

    Raises:
      InputError: the text is neither.
    """
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--date={text}: expected e.g. 2020-08-23 or 2020-08-23T10:15:00Z") from error
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
