"""Maps many scenes into one: each for itself, as it would be mapped alone, and then pixel by pixel by a rule.

The rows of each scene lie in the draft of the map, so that a map that was killed goes on in the scene where it was. A
scene that cannot be mapped ends the command, for a mosaic that lacks it would not show that it does; those before are
kept.
"""

import contextlib
import csv
import dataclasses
import datetime
import io
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import exclusions, raster_io, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from lcjax.mapping import areas, drafts, map_files, map_writer, preview, qgis_styles, scene_area, stac
from lcjax.mapping.combining import rules
from lcjax.mapping.combining.places import Source, joined
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.mapping.scene import Scene
from lcjax.mapping.scene_files import SceneFiles
from lcjax.mapping.scene_list import Job
from lcjax.runs.timer import Timer

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 2**27  # of rows that are put together at a time

Open = Callable[[Job], contextlib.AbstractContextManager[Scene]]


@dataclasses.dataclass(frozen=True)
class Looked:
    """What is known of a mosaic before a scene of it is mapped.

    Attributes:
      grid: of the mosaic.
      sources: the scenes in it.
      files: that they are read from.
    """

    grid: Grid
    sources: Sequence[Source]
    files: SceneFiles


def look(
    jobs: Sequence[Job],
    sensor: str,
    last: str,
    date: datetime.datetime | None,
    aoi: vectors.Features | None,
    rule: str,
) -> Looked:
    """Looks where the scenes of a mosaic lie and when they were taken, before any is mapped.

    Args:
      jobs: the scenes.
      sensor: whose grid a scene has.
      last: the sensor whose tags and name tell the date, as of maps of one scene.
      date: when all were taken; None takes it from the list, the tags or the name of each.
      aoi: the area of interest, if any: scenes that do not reach into it are left out.
      rule: one of `rules.RULES`.

    Raises:
      InputError: a scene cannot be opened, lies on another grid or elsewhere, or nothing tells its date.
    """
    masks = [job.mask.path for job in jobs if job.mask]  # of many scenes it may be one
    files = SceneFiles.of(dict.fromkeys([*(path for job in jobs for path in job.files.values()), *masks]))
    sources = []
    for job in jobs:
        if job.mask:
            exclusions.check_exists(job.mask)
        with raster_io.opened(job.files[last]) as dataset:
            tags = dataset.tags() | dataset.tags(ns="IMAGERY")
        with raster_io.opened(job.files[sensor]) as dataset:
            grid = Grid.of(dataset)
        time = job.date or date or stac.acquired(tags, job.files[last].name)
        if aoi is None or scene_area.reaches(grid, job.files[sensor], aoi):
            sources.append(Source(job, job.files[sensor], grid, time))
        else:
            _log.info("%s: left out: nothing of it lies in the area of interest", job.files[sensor])
    if not sources and aoi is not None:
        raise InputError(f"--aoi={aoi.path}: none of the {len(jobs)} scenes reaches into it; is it the right file?")
    whole, placed = joined(sources)
    rules.check(rule, placed)
    return Looked(whole, placed, files)


class Mosaic:
    """Many scenes that become one map.

    Args:
      mapper: of the network.
      looked: what `look` returned; `outputs.check` was asked before.
      options: how scenes are mapped.
      opened: opens the scene of a job.
      more: "plan", what else the bytes of the map depend on, and "tags", what else it says of itself.
    """

    def __init__(
        self,
        mapper: Mapper,
        looked: Looked,
        options: Options,
        opened: Open,
        more: Mapping[str, Mapping[str, Any]],
    ):
        self._mapper, self._options, self._opened, self._more = mapper, options, opened, more
        self._grid, self._sources, self._files = looked.grid, looked.sources, looked.files
        self._output = looked.sources[0].job.output
        self._drafted = options.drafted(mapper.card.legend)
        (self._scene,) = (p for p in options.products(mapper.card.legend) if p.kind == "scene")
        self._pictures: dict[int, np.ndarray] = {}
        self._written: pathlib.Path | None = None  # where the map is put together

    @property
    def _legend(self) -> Legend:
        return self._mapper.card.legend

    def map(self) -> areas.Areas | None:
        """Writes the map and what lies beside it; killed at any moment, the same call resumes it.

        Returns and raises as `Mapper.map`; InputError also where one of the scenes does not fit.
        """
        options, times = self._options, [source.time for source in self._sources if source.time]
        labels = [f"{number}: {source.path.stem}" for number, source in enumerate(self._sources, 1)]
        mapped = map_files.Mapped(
            grid=self._grid,
            files=self._files,
            plan=self._plan(),
            tags=self._mapper.tags | self._told(),
            told=self._mapper.told(options),
            times=(min(times), max(times)) if times else None,
            picture=self._picture,
            beside={"scenes": self._table},
            styles={"scene": qgis_styles.scene_qml(labels)},
        )
        drafted = (*self._drafted, self._scene)
        pixels = [source.grid.height * source.grid.width for source in self._sources]
        return map_files.make(
            self._output,
            mapped,
            self._mapper.card,
            options,
            options.products(self._legend),
            drafted,
            boundaries=(*range(0, self._grid.height, self._block), self._grid.height),
            compute=self._compute,
            timer=Timer(),
            more_bytes=sum(pixels) * sum(product.planes for product in self._drafted),
        )

    def _told(self) -> dict[str, str]:
        masks = dict.fromkeys(source.job.mask.told for source in self._sources if source.job.mask)
        shown = "; ".join(list(masks)[:5]) + ("; ..." if len(masks) > 5 else "")
        told = {"LCJAX_MOSAIC": f"{len(self._sources)} scenes, by {self._options.mosaic}"}
        return told | ({"LCJAX_MASK": shown} if masks else {}) | dict(self._more["tags"])

    def _plan(self) -> dict:
        """All that the bytes of the map depend on, but for the files."""
        scenes = [
            [
                source.grid.crs.to_wkt(),
                *map(float, tuple(source.grid.transform)[:6]),
                *source.grid.shape,
                str(source.time),
                source.job.mask.told if source.job.mask else "",
            ]
            for source in self._sources
        ]
        return self._mapper.network_plan(self._options) | {"scenes": scenes, "how": dict(self._more["plan"])}

    @property
    def _block(self) -> int:
        """Rows that are put together at a time."""
        layers = sum(product.planes for product in (*self._drafted, self._scene))
        return max(1, _BLOCK_BYTES // (layers * self._grid.width))

    def _compute(self, draft: drafts.Draft, timer: Timer) -> None:
        """Maps each scene, and puts their rows together."""
        self._written = draft.files / draft.output.name
        parts = []
        for number, source in enumerate(self._sources, 1):
            _log.info("scene %d of %d: %s", number, len(self._sources), source.path)
            try:
                parts.append(self._part(draft, number, source, timer))
            except InputError as error:
                if not source.job.origin:
                    raise
                raise InputError(f"{source.job.origin}: {error}") from error.__cause__
        with timer.measure("mosaic"):
            while draft.done < self._grid.height:
                draft.append(self._rows(parts, draft.done, min(draft.done + self._block, self._grid.height)))

    def _part(self, draft: drafts.Draft, number: int, source: Source, timer: Timer) -> drafts.Draft:
        """Maps one scene into a draft of its own, within that of the map."""
        own = draft.scratch / f"scene{number}.tif"
        drafts.folder_of(own).mkdir(parents=True, exist_ok=True)
        with self._opened(source.job) as scene:
            if Grid.of(scene.grid) != source.grid:
                raise InputError(f"{source.path}: has changed meanwhile; run the same command again")
            self._mapper.check_memory(scene, self._options)
            part = drafts.Draft(
                own,
                self._mapper.plan(scene, self._options, source.time),
                scene.files,
                width=scene.grid.width,
                layers=sum(product.planes for product in self._drafted),
                boundaries=self._mapper.boundaries(scene, self._options),
            )
            with part:
                self._mapper.compute(scene, part, self._drafted, self._options, timer)
            scene.files.check_unchanged(part.content)
            (top, end), (left, right) = self._in_picture(source)
            if top < end and left < right:
                self._pictures[number] = scene.picture(end - top, right - left)
        return part

    def _rows(self, parts: Sequence[drafts.Draft], first: int, end: int) -> np.ndarray:
        """The rows of the mosaic from `first` up to `end`."""
        drafted = (*self._drafted, self._scene)
        merged = rules.Merged(
            self._options.mosaic,
            map_writer.empty_planes(self._legend, drafted),
            end - first,
            self._grid.width,
            map_writer.planes_of(drafted),
            self._legend,
        )
        for place in rules.order(self._sources):
            source = self._sources[place]
            top, bottom = max(first, source.top), min(end, source.top + source.grid.height)
            if top < bottom:
                rows = parts[place].read(top - source.top, bottom - source.top)
                merged.add(place + 1, top - first, source.left, rows)
        return merged.planes

    def _table(self, draft: drafts.Draft) -> str:
        """The scenes by number, and how many pixels are of each, as CSV."""
        planes = map_writer.planes_of((*self._drafted, self._scene))["scene"]
        counts = np.zeros(rules.NONE + 1, np.int64)
        for first in range(0, self._grid.height, self._block):
            rows = draft.read(first, min(first + self._block, self._grid.height))[:, planes]
            counts += np.bincount(self._scene.numbers(rows).ravel(), minlength=len(counts))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["number", "date", "pixels", *self._sources[0].job.files])
        for number, source in enumerate(self._sources, 1):
            date = source.time.isoformat().replace("+00:00", "Z") if source.time else ""
            writer.writerow([number, date, counts[number], *source.job.files.values()])
        return text.getvalue()

    # ---- the picture ------------------------------------------------------------------------------------------------

    def _in_picture(self, source: Source) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first and the end of the rows, and of the columns, that a scene has in the picture."""
        height, width = map_writer.decimated_size(*self._grid.shape, preview.LONGEST)
        down, across = height / self._grid.height, width / self._grid.width
        rows = round(source.top * down), round((source.top + source.grid.height) * down)
        columns = round(source.left * across), round((source.left + source.grid.width) * across)
        return rows, columns

    def _picture(self, height: int, width: int) -> np.ndarray:
        """The scenes as the map takes them, each stretched for itself; white where there is none."""
        picture = np.full((height, width, 3), 255, np.uint8)
        assert self._written is not None
        chosen = map_writer.read_map(self._scene.path(self._written), preview.LONGEST)
        for number, shown in self._pictures.items():
            (top, end), (left, right) = self._in_picture(self._sources[number - 1])
            here = chosen[top:end, left:right] == number
            np.copyto(picture[top:end, left:right], shown, where=here[..., None])
        return picture
