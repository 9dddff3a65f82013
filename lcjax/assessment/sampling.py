"""Draws a sample of a map's pixels and writes what is needed to label them."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geodesy
from data_pipelines.schema import locks, paths, progress
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.files import write_atomically
from lcjax.assessment import allocation, chips, design, layers, map_file, points_files, random_sample, training_tiles
from lcjax.assessment.design import Design
from lcjax.assessment.layers import Layers, Population
from lcjax.mapping.areas import PixelAreas

_log = logging.getLogger(__name__)

ON_TRAINING = ("refuse", "exclude", "allow")
NONE = "none"  # of --training: no point can lie on training tiles
_LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is drawn.

    Attributes:
      map: the map.
      legend: CSV of its classes; None takes the legend in the map.
      strata: raster of strata; None takes the classes of the map.
      allocation: a name in `allocation.ALLOCATIONS`.
      size: number of points; None takes `standard_error`.
      standard_error: of overall accuracy, that is wanted.
      users: name of a stratum -> user's accuracy that is expected; under "" that of all others.
      minimum: points of each stratum, at least.
      points: name of a stratum -> number of its points, whatever the rest says.
      seed: of the random numbers.
      training: a workdir, the folder of a prepared data set, "none", or "" for what the map says.
      on_training: what to do about points on training tiles, one of `ON_TRAINING`.
      scenes: images of which each point gets a chip.
      bands: of the images, as `chips.opened` takes them.
    """

    map: pathlib.Path
    legend: pathlib.Path | None = None
    strata: pathlib.Path | None = None
    allocation: str = "proportional"
    size: int | None = None
    standard_error: float | None = None
    users: Mapping[str, float] = dataclasses.field(default_factory=dict)
    minimum: int = 50
    points: Mapping[str, int] = dataclasses.field(default_factory=dict)
    seed: int = 0
    training: str = ""
    on_training: str = "refuse"
    scenes: Sequence[pathlib.Path] = ()
    bands: Sequence[str] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """All that the sample and its files depend on beside the map, as JSON; paths as they lead from any folder."""
        fields = dataclasses.asdict(self)
        del fields["map"]
        training = self.training if self.training in ("", NONE) else _lasting(pathlib.Path(self.training))
        return fields | {
            "legend": self.legend and _lasting(self.legend),
            "strata": self.strata and _lasting(self.strata),
            "training": training,
            "scenes": [_lasting(path) for path in self.scenes],
            "bands": list(self.bands),
        }

    def check(self) -> None:
        """Raises InputError for what cannot be, before the map is read."""
        if (self.size is None) == (self.standard_error is None):
            raise InputError(
                "--size, --standard_error: expected one of them, e.g. --size=400, or --standard_error=0.02 with "
                "--users_accuracy=0.8 (guessed)"
            )
        if self.size is not None and not 1 <= self.size <= 1_000_000:
            raise InputError(f"--size={self.size}: expected 1 to 1,000,000 points")
        if self.standard_error is not None and not 0.0005 <= self.standard_error <= 0.5:
            raise InputError(f"--standard_error={self.standard_error:g}: expected 0.0005 to 0.5")
        if self.standard_error is not None and not self.users:
            raise InputError(
                "--users_accuracy: missing; expected what is guessed of the map, e.g. --users_accuracy=0.8 or "
                "--users_accuracy=0.8,Water=0.95: a standard error depends on it"
            )
        if wrong := {name: value for name, value in self.users.items() if not 0 <= value <= 1}:
            raise InputError(f"--users_accuracy: found {next(iter(wrong.values())):g}; expected 0 to 1")
        if self.minimum < allocation.FEWEST:
            raise InputError(
                f"--minimum={self.minimum}: expected {allocation.FEWEST} or more points of each stratum: of one there "
                "is no variance"
            )
        if self.allocation not in allocation.ALLOCATIONS:
            raise InputError(f"--allocation={self.allocation}: expected one of {', '.join(allocation.ALLOCATIONS)}")
        if self.on_training not in ON_TRAINING:
            raise InputError(f"--on_training={self.on_training}: expected one of {', '.join(ON_TRAINING)}")
        if self.on_training != ON_TRAINING[0] and self.training in ("", NONE):
            raise InputError(
                f"--on_training={self.on_training}: needs --training=WORKDIR, the run that made the map, or the folder "
                "of its prepared data set: without it no training tile is known; or leave --on_training out"
            )
        if self.bands and not self.scenes:
            raise InputError(f"--bands={','.join(self.bands)}: are of --scene, which is missing; give both, or neither")
        if self.seed < 0:
            raise InputError(f"--seed={self.seed}: expected 0 or more")


def _lasting(path: pathlib.Path) -> str:
    """Returns a path that leads to the same file from any folder."""
    return str(paths.real(path))


def sample(request: Request, output: pathlib.Path) -> Design:
    """Draws a sample and writes its files; killed at any moment, the same call goes on and ends in the same sample.

    Args:
      request: what is drawn.
      output: folder of the sample.

    Raises:
      InputError: something does not fit, or the folder holds another sample or what is somebody's own.
    """
    request.check()
    made = not output.exists()
    try:
        with (
            chips.opened(request.scenes, request.bands) as images,
            locks.held(output / _LOCK, f"--output={output}", doing="writing", instead="give another --output"),
        ):
            file = output / design.FILE
            there = design.read(file) if os.path.lexists(file) else None
            if there:
                _check_images(images, there.map.parsed_crs)
                _check_same(there, request, file)
            else:
                _check_nothing_of_others(output)
                with layers.opened(request.map, request.legend, request.strata) as opened:
                    _check_images(images, opened.crs)
                    drawn = _drawn(request, opened)
                drawn.write(file)
                there = design.read(file)
            if images:
                _write_chips(there, output / points_files.CHIPS, images)
            written = points_files.write(output, there, bool(images))
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot be written ({error.strerror or error}); name a folder that you may write to"
        ) from error
    finally:
        if made and output.is_dir() and not any(output.iterdir()):  # refused before anything was drawn
            output.rmdir()
    _log.info("%s", _summary(there, request))
    _log.info("written: %s", ", ".join(str(path) for path in written))
    _log.info(
        "%s: what the map says at the points, and what they will be weighted with; do not open it before the points "
        "are labelled, and do not pass it on",
        output / design.FILE,
    )
    return there


def _drawn(request: Request, opened: Layers) -> Design:
    """Counts the map, shares the sample out, draws it, and looks where the points lie."""
    _check_names(opened)
    tiles, told = _tiles(request, opened)
    excluded: layers.Excluded = _nothing
    if tiles and request.on_training == "exclude":
        excluded = training_tiles.Mask(tiles, opened.crs, opened.transform, opened.height, opened.width)
    population = opened.population(excluded)
    counts = _counts(request, population)
    pixels = random_sample.draw(opened, population, counts, request.seed, excluded)
    rows, columns = (np.array([getattr(pixel, name) for pixel in pixels]) for name in ("row", "column"))
    x, y = geodesy.positions(opened.transform, columns + 0.5, rows + 0.5)
    if tiles:
        told += _check_training(request, tiles, opened, x, y)
    earthly = geodesy.is_earthly(opened.crs)
    points = tuple(
        design.Point(at + 1, pixel.row, pixel.column, float(x[at]), float(y[at]), pixel.mapped, pixel.stratum, area)
        for at, (pixel, area) in enumerate(zip(pixels, _areas(opened, rows, columns), strict=True))
    )
    return Design(
        map=map_file.describe(opened, population.fingerprint),
        strata_path=request.asked["strata"] or "",
        unit="hectares" if earthly else "pixels",
        asked=request.asked,
        classes=tuple(design.Class(**dataclasses.asdict(part)) for part in population.classes),
        strata=tuple(
            design.Stratum(part.value, part.name, part.pixels, part.area, int(count))
            for part, count in zip(population.strata, counts, strict=True)
        ),
        left_out=population.left_out,
        training=told,
        points=points,
    )


def _nothing(first: int, end: int) -> None:
    """Excludes no pixel."""
    del first, end


def _areas(opened: Layers, rows: np.ndarray, columns: np.ndarray) -> list[float]:
    """Returns the area of each pixel: hectares on the ground, 1 where the map lies nowhere."""
    if opened.crs is None or not geodesy.is_earthly(opened.crs):
        return [1.0] * len(rows)
    sizes = PixelAreas(opened.crs, opened.transform, opened.width)
    found = [0.0] * len(rows)
    for at in np.argsort(rows, kind="stable").tolist():
        found[at] = sizes.of_pixel(int(rows[at]), int(columns[at])) / geodesy.HECTARE
    return found


def _counts(request: Request, population: Population) -> np.ndarray:
    """Returns how many points each stratum gets."""
    names = [part.name for part in population.strata]
    for flag, given in (("--users_accuracy", request.users), ("--points", request.points)):
        for name in given:
            if name and name not in names:
                hint = did_you_mean(name, names)
                raise InputError(f"{flag}: {name!r} is no stratum of the map: {hint}expected of {', '.join(names)}")
    pixels = np.array([part.pixels for part in population.strata])
    areas = np.array([part.area for part in population.strata])
    weights, users = areas / areas.sum(), _users(request, names)
    if request.size is None:
        assert request.standard_error is not None
        size = allocation.size_for(weights, users, request.standard_error, int(pixels.sum()))
        size = max(size, sum(request.points.get(name, request.minimum) for name in names))
    else:
        size = request.size
    shares = allocation.ALLOCATIONS[request.allocation](weights, allocation.deviations(users))
    return allocation.allocate(names, pixels, shares, size, request.minimum, request.points)


def _users(request: Request, names: Sequence[str]) -> np.ndarray:
    """Returns the user's accuracy that is expected of each stratum; where nothing is, one half, the most cautious."""
    others = request.users.get("", 0.5)
    if request.allocation == "optimal" and not request.users:
        raise InputError("--allocation=optimal: needs --users_accuracy, e.g. --users_accuracy=0.8,Water=0.95")
    missing = [name for name in names if name not in request.users]
    if request.users and "" not in request.users and missing:
        raise InputError(
            f"--users_accuracy: nothing is expected of {', '.join(missing)}; expected a number for each stratum, or "
            "one without a name for all others"
        )
    return np.array([request.users.get(name, others) for name in names])


def _tiles(request: Request, opened: Layers) -> tuple[training_tiles.Tiles | None, str]:
    """Returns the training tiles, None where there are none to look at, and what is known of them as a phrase."""
    if request.training == NONE:
        return None, "no point can lie on training tiles, it was said (--training=none)"
    if not request.training:
        if opened.trained_on:
            raise InputError(
                f"{opened.path}: was drawn by a network that was trained on {opened.trained_on}, and points on its "
                "tiles would flatter the map; expected --training=WORKDIR, the run that made the map, or the folder of "
                "its prepared data set; --training=none says that no point can lie on them"
            )
        return None, "training tiles are not known: the map does not say what it was made from"
    tiles = training_tiles.read(pathlib.Path(request.training))
    if not geodesy.is_earthly(opened.crs) or not tiles.extents:
        which = f"{tiles.origin} lie" if geodesy.is_earthly(opened.crs) else "the map lies"
        raise InputError(
            f"--training={request.training}: {which} nowhere, so points cannot be compared with training tiles; "
            "expected both on the ground; --training=none says that no point can lie on them"
        )
    if tiles.placeless:
        _log.warning(
            f"{tiles.placeless:,} of {tiles.placeless + len(tiles.extents):,} records do not tell where they lie; no "
            "point was compared with them"
        )
    return tiles, tiles.origin


def _check_training(request: Request, tiles: training_tiles.Tiles, opened: Layers, x: np.ndarray, y: np.ndarray) -> str:
    """Returns how many points lie on training tiles, as a phrase. Raises InputError where none may."""
    assert opened.crs is not None
    names = tiles.under(opened.crs, x, y)
    count = len(list(filter(None, names)))
    if count and request.on_training == "refuse":
        numbers = range(1, len(names) + 1)
        raise InputError(
            f"{count:,} of {len(names):,} points lie on {tiles.origin}: {training_tiles.named(numbers, names)}; what "
            "the network has learned there flatters the map; --on_training=exclude draws from the rest of the map "
            "alone (and says so), --on_training=allow keeps them"
        )
    if count:
        _log.warning(f"{count:,} of {len(names):,} points lie on {tiles.origin}; they flatter the map")
    return f": {count:,} of the points lie on them" if count else ": no point lies on them"


def _check_names(opened: Layers) -> None:
    for one in opened.legend.scored:
        if one.name.casefold() == points_files.CANNOT_SAY:
            raise InputError(f"{opened.path}: a class is called {one.name!r}, which stands for none; rename it")


def _check_same(there: Design, request: Request, file: pathlib.Path) -> None:
    """Raises InputError where the sample in the folder is another one than is asked for."""
    asked = request.asked
    other = next((name for name, value in asked.items() if there.asked.get(name) != value), "")
    if other:
        flag, held = f"--{_FLAGS.get(other, other)}", _told(there.asked.get(other))
        raise InputError(
            f"{file}: holds a sample {f'with {flag}={held}' if held else f'without {flag}'}, found "
            f"{_told(asked[other]) or 'none'}; a sample is never replaced: give another --output, or the same options "
            "to go on"
        )
    map_file.check(there, request.map, request.legend, file)


_FLAGS = {"users": "users_accuracy", "scenes": "scene"}


def _told(value: Any) -> str:
    """Formats the value of an option as it is typed; "" for none."""
    if isinstance(value, dict):
        return ",".join(f"{name}={number}" if name else f"{number}" for name, number in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _check_images(images: Sequence[chips.Image], crs: geodesy.CRS | None) -> None:
    if images and not geodesy.is_earthly(crs):
        raise InputError("--scene: the map lies nowhere, so no image shows its ground; leave it out")


def _check_nothing_of_others(output: pathlib.Path) -> None:
    for name in (points_files.POINTS_CSV, points_files.POINTS_GPKG, points_files.CHIPS):
        if os.path.lexists(output / name):
            raise InputError(
                f"{output / name}: is there, and no {design.FILE} tells what it is of; move it, or give another "
                "--output"
            )


def _write_chips(drawn: Design, folder: pathlib.Path, images: Sequence[chips.Image]) -> None:
    """Writes the chips that are missing, and warns of points that an image does not show."""
    folder.mkdir(exist_ok=True)
    crs, transform = drawn.map.parsed_crs, geodesy.Affine(*drawn.map.transform)
    assert crs is not None
    x, y = (np.array([getattr(point, axis) for point in drawn.points]) for axis in ("x", "y"))
    for image in images:
        if outside := int((~image.shows(crs, x, y)).sum()):
            _log.warning(f"{image.path}: does not reach {outside:,} of {len(x):,} points; their chips are grey there")
    todo = [point for point in drawn.points if not (folder / points_files.chip_name(point.point)).exists()]
    for point in progress.bar(todo, desc="chips", unit=" chips"):
        path = folder / points_files.chip_name(point.point)
        write_atomically(path, chips.chip(images, crs, transform, point.row, point.column))


def _summary(drawn: Design, request: Request) -> str:
    """Formats the strata as a table of text, and what the sample can be expected to tell."""
    weights = np.array([one.area for one in drawn.strata]) / drawn.area
    cells = [("stratum", "pixels", "% of area", "points")]
    cells += [
        (one.name, f"{one.pixels:,}", f"{100 * weight:.2f}", f"{one.points:,}")
        for one, weight in zip(drawn.strata, weights.tolist(), strict=True)
    ]
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"{a:{width[0]}}  {b:>{width[1]}}  {c:>{width[2]}}  {d:>{width[3]}}" for a, b, c, d in cells]
    lines += [
        f"{pixels:,} pixels of the map are {why}: nothing is drawn from them" for why, pixels in drawn.left_out.items()
    ]
    lines.append(f"training: {drawn.training}")
    users = _users(request, [one.name for one in drawn.strata])
    counts, pixels = (np.array([getattr(one, name) for one in drawn.strata]) for name in ("points", "pixels"))
    if request.users and (counts > 0).all():
        error = allocation.expected_error(weights, users, counts, pixels)
        lines.append(
            f"expected standard error of overall accuracy: {error:.4f}, if the user's accuracies are as guessed"
        )
    return "\n".join(lines)
