"""Land-cover maps of one scene or of many, by the network of a workdir."""

import datetime
import functools
import pathlib
from collections.abc import Sequence

from data_pipelines.schema.errors import InputError
from lcjax.mapping import map_writer, scene, scene_list
from lcjax.mapping.mapper import Mapper, Options
from lcjax.parallel import multihost
from lcjax.runs import model_card as cards


def map_scenes(
    workdir: pathlib.Path,
    scenes: str,
    output: pathlib.Path,
    options: Options,
    *,
    bands: Sequence[str] = (),
    offset: float | None = None,
    grid: str = "",
    date: datetime.datetime | None = None,
    checkpoint: str = "best",
    tta: bool = False,
) -> None:
    """Maps the scenes that a text names, as `lcjax predict --help` describes `--scene` and the other flags.

    One bad scene of several does not keep the others from being mapped; the error names it at the end. Raises
    InputError where something does not fit.
    """
    # What can be refused is refused before the network is restored: that takes a while.
    card = cards.read(workdir)
    todo = scene_list.jobs(scenes, card.sensors, output)
    listed = scene_list.parse_bands(bands, card.sensors)
    options.check(card.tile)
    mapper = functools.cache(lambda: Mapper.of_workdir(workdir, checkpoint, tta=tta))
    failed: list[str] = []
    with multihost.leader_section(lambda: mapper().probabilities) as leads:
        for number, job in enumerate(todo if leads else [], 1):
            if len(todo) > 1:
                print(f"scene {number} of {len(todo)}: {', '.join(map(str, job.files.values()))}", flush=True)
            try:
                map_writer.check_output(job.output, job.files.values())
                with scene.open_scene(card, job.files, bands=listed, offset=offset, grid=grid) as opened:
                    mapper().map(opened, job.output, options, date=date)
            except InputError as error:
                if len(todo) == 1:
                    raise
                failed.append(str(error))
                print(f"not mapped: {error}", flush=True)
        if failed:
            raise InputError(f"{len(failed)} of {len(todo)} scenes were not mapped; the first: {failed[0]}")


def parse_date(text: str | None) -> datetime.datetime | None:
    """A date or a time as ISO 8601 writes them, in UTC where it names no zone. Raises InputError for others."""
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--date={text}: expected e.g. 2020-08-23 or 2020-08-23T10:15:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
