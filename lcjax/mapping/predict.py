"""Land-cover maps of one scene or of many, by the network of a workdir."""

import dataclasses
import datetime
import functools
import logging
import pathlib
from collections.abc import Callable, Sequence

from data_pipelines.geo import geopackage
from data_pipelines.schema.errors import InputError
from lcjax.engine import restore
from lcjax.mapping import acquisition, outputs, scene, scene_list
from lcjax.mapping.mapper import Mapper, Options
from lcjax.mapping.scene_list import Job
from lcjax.parallel import devices, multihost
from lcjax.runs import calibration as calibrations
from lcjax.runs.model_card import Card

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
    with multihost.raise_on_all() as is_main:
        jobs = scene_list.jobs(scenes, card.sensors, output)
        if is_main:
            check(card, jobs, options, scene_options)
        calibrated = check_calibration(workdir, options)
    mapper = functools.cache(lambda: Mapper.of_workdir(workdir, checkpoint, tta=tta, calibrated=calibrated))
    _log.info(f"{workdir}: maps {devices.where()}")
    with multihost.leader_section(lambda: mapper().probabilities) as leads:
        if leads:
            map_jobs(card, mapper, jobs, options, scene_options)


def check(card: Card, jobs: Sequence[Job], options: Options, scene_options: SceneOptions) -> None:
    """Raises InputError for what can be refused before the network is there, of all scenes and maps at once."""
    scene_list.parse_bands(scene_options.bands, card.sensors)
    options.check(card.tile, len(card.legend.scored))
    if scene_options.date:
        acquisition.check_time(scene_options.date)
    outputs.check(jobs, options.products(card.legend))
    if options.vector:
        geopackage.installed(jobs[0].output.with_suffix(".gpkg"), "--vector", "")


def check_calibration(workdir: pathlib.Path, options: Options) -> bool:
    """Returns whether what these options write is calibrated.

    Raises:
      InputError: calibration.json of the workdir cannot be read, or is not there and needed.
    """
    if not (options.tells and options.calibrated):
        return False
    is_there = calibrations.read(workdir) is not None
    if options.conformal and not is_there:
        raise InputError(
            f"--conformal={options.conformal:g}: {workdir / calibrations.FILE}: no such file; expected the thresholds "
            f"of this network; {calibrations.make(workdir)}"
        )
    return is_there


def map_jobs(
    card: Card, mapper: Callable[[], Mapper], jobs: Sequence[Job], options: Options, scene_options: SceneOptions
) -> None:
    """Maps one scene after another; `check` was asked before.

    Raises InputError for the scene, or, where one of several was not mapped, at the end.
    """
    bands = scene_list.parse_bands(scene_options.bands, card.sensors)
    failed: list[str] = []
    for number, job in enumerate(jobs, 1):
        if len(jobs) > 1:
            _log.info("scene %d of %d: %s", number, len(jobs), ", ".join(map(str, job.files.values())))
        try:
            with scene.open_scene(
                card, job.files, bands=bands, offset=scene_options.offset, grid=scene_options.grid
            ) as opened:
                mapper().map(opened, job.output, options, date=scene_options.date)
        except InputError as error:
            told = InputError(f"{job.origin}: {error}") if job.origin else error
            if len(jobs) == 1:
                raise told from error.__cause__
            failed.append(str(told))
            _log.info("not mapped: %s", told)
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} scenes were not mapped; the first: {failed[0]}")


def parse_date(text: str | None) -> datetime.datetime | None:
    """Parses a date or a time in ISO 8601, in UTC where it names no zone.

    Raises:
      InputError: the text is neither, or no image can be of that time.
    """
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--date={text}: expected e.g. 2020-08-23 or 2020-08-23T10:15:00Z") from error
    return acquisition.check_time(time)
