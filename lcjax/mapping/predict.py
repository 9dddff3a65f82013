"""Land-cover maps of one scene or of many, by the network of a workdir."""

import contextlib
import dataclasses
import datetime
import functools
import logging
import pathlib
from collections.abc import Callable, Sequence

from data_pipelines.geo import geopackage, vectors
from data_pipelines.geo.vectors import Features
from data_pipelines.schema.errors import InputError
from lcjax.mapping import acquisition, outputs, scene, scene_area, scene_list
from lcjax.mapping.combining import ensemble, mosaic
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.mapping.scene_list import Job
from lcjax.parallel import devices, multihost
from lcjax.runs import calibration as calibrations
from lcjax.runs.model_card import Card

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SceneOptions:
    """What the files of scenes do not say of themselves, and what of them is mapped.

    Attributes:
      bands: names in file order, for files that name none.
      offset: number added to the digital numbers of Sentinel-2; None takes it from the metadata.
      grid: name of the sensor onto whose grid the others are warped; "" expects that all have one grid.
      date: when the scenes were taken; None takes it from their tags or names.
      aoi: the area of interest, outside which nothing is mapped; None maps all.
    """

    bands: Sequence[str] = ()
    offset: float | None = None
    grid: str = ""
    date: datetime.datetime | None = None
    aoi: Features | None = None


def map_scenes(
    workdirs: Sequence[pathlib.Path],
    scenes: str,
    output: pathlib.Path,
    options: Options,
    scene_options: SceneOptions = SceneOptions(),
    *,
    mask: str = "",
    checkpoint: str = "best",
    tta: bool = False,
) -> None:
    """Maps one scene or many.

    A bad scene of several does not keep the others from being mapped; the error at the end names it.

    Args:
      workdirs: of the network, or of those whose mean makes the map.
      scenes: text of --scene, see `scene_list.jobs`.
      output: the map, or the folder of the maps.
      options: how scenes are mapped.
      scene_options: how their files are read.
      mask: text of --mask, what is not to be mapped; "" for nothing.
      checkpoint: "best" or "last".
      tta: average the answers over flips and rotations.

    Raises:
      InputError: something does not fit, or a scene was not mapped.
    """
    # Refuse what can be refused before restoring the network, which takes a while.
    card = ensemble.check(workdirs, checkpoint)
    several = len(workdirs) > 1
    looked = None
    with multihost.raise_on_all() as is_main:
        jobs = scene_list.jobs(scenes, card.sensors, output, mask, one_map=bool(options.mosaic))
        options = dataclasses.replace(options, mutual_information=several)
        if several and options.conformal:
            raise InputError(
                f"--conformal={options.conformal:g}: found {len(workdirs)} workdirs; expected one, for thresholds are "
                "of one network; leave it out, and see MAP_mutual_information.tif"
            )
        if is_main:
            check(card, jobs, options, scene_options)
            if options.mosaic:
                looked = look(card, jobs, options, scene_options)
        calibrated = not several and check_calibration(workdirs[0], options)

    @functools.cache
    def mapper() -> Mapper:
        if several:
            return ensemble.of_workdirs(workdirs, checkpoint, tta=tta)
        return Mapper.of_workdir(workdirs[0], checkpoint, tta=tta, calibrated=calibrated)

    _log.info(f"{', '.join(map(str, workdirs))}: maps {devices.where()}")
    with multihost.leader_section(lambda: mapper().probabilities) as leads:
        if leads and looked:
            map_mosaic(card, mapper(), looked, options, scene_options)
        elif leads:
            map_jobs(card, mapper, jobs, options, scene_options)


def check(card: Card, jobs: Sequence[Job], options: Options, scene_options: SceneOptions) -> None:
    """Raises InputError for what can be refused before the network is there, of all scenes and maps at once."""
    scene_list.parse_bands(scene_options.bands, card.sensors)
    options.check(card.tile, len(card.legend.scored))
    if scene_options.date:
        acquisition.check_time(scene_options.date)
        if dated := next((job for job in jobs if job.date), None):
            raise InputError(f"--date: beside {dated.origin}, which tells a date of its own; leave one of them out")
    also_read = {scene_options.aoi.path: "the area of interest itself"} if scene_options.aoi else {}
    if options.mosaic:
        also_read |= {job.mask.path: "a mask" for job in jobs if job.mask}
        also_read |= {path: "one of the scenes" for job in jobs for path in job.files.values()}
        jobs = jobs[:1]  # for they have one map
    outputs.check(jobs, options.products(card.legend), also_read)
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
    failed: list[str] = []
    outside = 0
    for number, job in enumerate(jobs, 1):
        if len(jobs) > 1:
            _log.info("scene %d of %d: %s", number, len(jobs), ", ".join(map(str, job.files.values())))
        try:
            with opened(card, job, scene_options) as of_job:
                mapper().map(of_job, job.output, options, date=job.date or scene_options.date)
        except InputError as error:
            told = InputError(f"{job.origin}: {error}") if job.origin else error
            if len(jobs) == 1:
                raise told from error.__cause__
            if isinstance(error, scene_area.Outside):
                outside += 1
                _log.info("left out: nothing of it lies in the area of interest")
                continue
            failed.append(str(told))
            _log.info("not mapped: %s", told)
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} scenes were not mapped; the first: {failed[0]}")
    if scene_options.aoi and outside == len(jobs):
        raise InputError(
            f"--aoi={scene_options.aoi.path}: none of the {len(jobs)} scenes reaches into it; is it the right file?"
        )


def look(card: Card, jobs: Sequence[Job], options: Options, scene_options: SceneOptions) -> mosaic.Looked:
    """Looks at the scenes of a mosaic before any is mapped, as `mosaic.look`."""
    for job in jobs:
        if job.error:
            raise InputError(f"{job.origin}: {job.error}") from job.error
    sensors = [sensor.name for sensor in card.sensors]
    grid = scene_options.grid if scene_options.grid in sensors else sensors[0]
    return mosaic.look(jobs, grid, sensors[-1], scene_options.date, scene_options.aoi, options.mosaic)


def map_mosaic(
    card: Card, mapper: Mapper, looked: mosaic.Looked, options: Options, scene_options: SceneOptions
) -> None:
    """Maps many scenes into one; `check` was asked before. Raises InputError as `mosaic.Mosaic.map`."""
    aoi = scene_options.aoi
    plan = {"bands": [*scene_options.bands], "offset": scene_options.offset, "grid": scene_options.grid}
    tags = {"LCJAX_AOI": f"{aoi.path.name}, layer {aoi.layer}"} if aoi else {}
    if aoi:
        plan["aoi"] = vectors.onto(aoi, looked.grid, aoi.path).digest
    open_job = functools.partial(opened, card, options=scene_options)
    mosaic.Mosaic(mapper, looked, options, open_job, {"plan": plan, "tags": tags}).map()


def opened(card: Card, job: Job, options: SceneOptions) -> contextlib.AbstractContextManager[scene.Scene]:
    """Opens the scene of a job, for the time of the context; raises as `scene.open_scene`."""
    return scene.open_scene(
        card,
        scene_list.files_of(job),
        bands=scene_list.parse_bands(options.bands, card.sensors),
        offset=options.offset,
        grid=options.grid,
        aoi=options.aoi,
        mask=job.mask,
    )
