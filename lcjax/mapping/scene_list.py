"""Parses --scene, --output and --bands: which scenes are mapped, and where their maps go."""

import dataclasses
import datetime
import logging
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from data_pipelines.geo import exclusions, stac_items, stac_search, vectors
from data_pipelines.geo.cubes import store
from data_pipelines.geo.exclusions import Exclusion
from data_pipelines.remote import addresses
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import csv_rows, files, paths
from data_pipelines.schema.band_selection import spelled
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import SENSORS, Sensor
from lcjax.mapping import acquisition

_log = logging.getLogger(__name__)

RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True)
class Job:
    """One scene and its map.

    Attributes:
      files: sensor name -> file.
      output: the map.
      origin: the line of a list that names it, "LIST.csv, line 3", for messages; empty where no list does.
      date: when it was taken, as the list says; None where it does not.
      mask: what of it is not to be mapped, if anything.
      error: why its files are not known, of one of many; None where they are.
    """

    files: dict[str, pathlib.Path]
    output: pathlib.Path
    origin: str = ""
    date: datetime.datetime | None = None
    mask: Exclusion | None = None
    error: InputError | None = None


@dataclasses.dataclass(frozen=True)
class Listed:
    """One scene that --scene names.

    Attributes:
      files: sensor name -> file.
      name: what a folder or a list calls it; empty of a scene that is named by its files alone.
      origin, date, mask, error: as of `Job`.
    """

    files: dict[str, pathlib.Path]
    name: str = ""
    origin: str = ""
    date: datetime.datetime | None = None
    mask: Exclusion | None = None
    error: InputError | None = None


def files_of(scene: Job | Listed) -> dict[str, pathlib.Path]:
    """The files of a scene. Raises InputError where they are not known."""
    if scene.error:
        raise scene.error
    return scene.files


def listed(text: str, sensors: Sequence[Sensor]) -> list[Listed]:
    """Lists the scenes that --scene names.

    Args:
      text: `FILE`, `FOLDER`, `LIST.csv`, or for several sensors `s1=FILE,s2=FILE`, `s1=FOLDER,s2=FOLDER` (files of the
        same name belong together), or `LIST.csv` with a column for each sensor, and where one likes `date` and `mask`.
        A file may be an address on a server, or a STAC item, and for one sensor the address of a STAC search finds
        many.
      sensors: of the network.

    Raises:
      InputError: a scene lacks a file, or two scenes have the same name.
    """
    told: dict[str, dict[str, Any]] = {}
    if stac_search.is_search(text):
        scenes, told = _of_search(text, sensors)
    elif text.lower().endswith(".csv") and not (table := paths.given(text, "--scene")).is_dir():
        scenes, told = _of_list(table, sensors)
    else:
        places = parse_scene(text, sensors)
        for name, path in places.items():
            if not isinstance(path, Address) and not path.exists():
                of = f" of {name}" if len(places) > 1 else ""
                raise InputError(f"{path}: no such file{of}; expected a scene, or a folder of scenes")
        folders = [path for path in places.values() if path.is_dir() and not store.root_of(path)]
        if not folders:
            return [Listed(with_assets(places, sensors))]
        if len(folders) < len(places):
            both = ",".join(f"{name}={path}" for name, path in places.items())
            raise InputError(f"--scene={both}: a folder and a file; expected folders for all sensors, or files for all")
        scenes = _of_folders(places)
    return [Listed(files, name, **told.get(name, {})) for name, files in scenes.items()]


def jobs(
    text: str, sensors: Sequence[Sensor], output: pathlib.Path, mask: str = "", one_map: bool = False
) -> list[Job]:
    """Lists the scenes that --scene names, each with its map.

    Args:
      text, sensors: as of `listed`.
      output: the map of a single scene; for a folder or a list, the folder of the maps, which take the scenes' names.
      mask: text of --mask: what is not to be mapped of any scene, or a folder with a file for each by its name.
      one_map: whether all scenes become one map, which is `output`.

    Raises:
      InputError: as `listed`, or the maps would lie among the scenes of a folder, or all in one file; a mask is
        missing, or two are named for a scene.
    """
    scenes = masked(listed(text, sensors), mask)
    if not scenes[0].name:
        return [Job(scenes[0].files, output, mask=scenes[0].mask)]
    of_folders = {file.parent for one in scenes if not one.origin for file in one.files.values()}
    if paths.real(output.parent if one_map else output) in map(paths.real, of_folders):
        raise InputError(f"--output={output}: the folder of the scenes; expected another, or maps would be mapped")
    if output.suffix.lower() in (".tif", ".tiff") and not one_map:
        raise InputError(
            f"--output={output}: one file for {len(scenes)} scenes; expected a folder for their maps, or --mosaic"
        )
    maps = [output if one_map else output / f"{one.name}.tif" for one in scenes]
    return [Job(one.files, to, one.origin, one.date, one.mask, one.error) for one, to in zip(scenes, maps, strict=True)]


def masked(scenes: Sequence[Listed], text: str) -> list[Listed]:
    """Gives each scene its mask.

    Args:
      scenes: as `listed` gives them.
      text: of --mask; "" for none but those of a list.

    Raises:
      InputError: it cannot be read, the folder has none for a scene, or a list names one, too.
    """
    if not text:
        return [*scenes]
    mask = exclusions.parse(text, "--mask")
    if named := next((one for one in scenes if one.mask), None):
        raise InputError(f"--mask={text}: beside {named.origin}, which names a mask of its own; leave one of them out")
    if not mask.path.is_dir():
        return [dataclasses.replace(one, mask=mask) for one in scenes]
    there: dict[str, list[pathlib.Path]] = {}
    for path in sorted(mask.path.iterdir()):
        if path.suffix.lower() in (*RASTERS, *vectors.SUFFIXES) and not path.name.startswith("."):
            there.setdefault(path.stem, []).append(path)
    found = []
    for one in scenes:
        last = [*one.files.values()][-1]
        files = there.get(one.name or last.stem, [])
        if len(files) != 1:
            what = f"{len(files)} files" if files else "no raster or polygons"
            raise InputError(f"--mask={text}: {what} of the name {one.name or last.stem}; expected one mask for {last}")
        found.append(dataclasses.replace(one, mask=exclusions.of_file(mask, files[0], f"--mask={text}")))
    return found


def parse_scene(text: str, sensors: Sequence[Sensor]) -> dict[str, pathlib.Path]:
    """Parses `PATH` or `s1=PATH,s2=PATH`; a single sensor needs no name, and what is there under a name is meant by it.

    Returns:
      sensor name -> path.

    Raises:
      InputError: the text does not name one path for each of `sensors`.
    """
    wanted = [sensor.name for sensor in sensors]
    if len(sensors) == 1 and text and _is_there(whole := addresses.given(text, "--scene")):
        return {wanted[0]: whole}
    names = "|".join(map(re.escape, {*SENSORS, *wanted}))
    parts = re.split(rf",(?=(?:{names})=)", text)
    pairs = [part.split("=", 1) if re.match(rf"(?:{names})=", part) else ["", part] for part in parts]
    if len(sensors) == 1 and not pairs[0][0]:
        pairs[0][0] = wanted[0]
    named = [name for name, _ in pairs]
    if sorted(named) != sorted(wanted) or not all(path for _, path in pairs):
        raise InputError(
            f"--scene={','.join(map(paths.shown, parts))}: expected a file for each sensor that the network takes; "
            f"give --scene={','.join(f'{name}=FILE' for name in wanted)}"
        )
    return {name: addresses.given(path, f"--scene={name}") for name, path in pairs}


def _is_there(path: pathlib.Path) -> bool:
    return isinstance(path, Address) or path.exists()


def with_assets(places: dict[str, pathlib.Path], sensors: Sequence[Sensor]) -> dict[str, pathlib.Path]:
    """Returns the files of a scene; of STAC items those assets that hold the bands of the sensor."""
    by_name = {sensor.name: sensor for sensor in sensors}
    return {
        name: stac_items.chosen(path, by_name[name]) if name in by_name and stac_items.is_item(path) else path
        for name, path in places.items()
    }


def parse_bands(words: Sequence[str], sensors: Sequence[Sensor]) -> dict[str, list[str]]:
    """Returns what --bands lists for the file of each sensor: its band names as it spells them, in file order.

    Of several sensors, one that is named by itself has its own bands in their order. The other names are those of the
    one sensor that is left, or of each of several the names that are its own. Where a name comes more than once, as
    dates have the same, the list is cut into one run for each sensor.

    Args:
      words: names of bands in any spelling, or of sensors, which stand for all their bands.
      sensors: of the network; the published ones are known besides.

    Returns:
      {sensor: names}; none for a sensor of which nothing is listed.

    Raises:
      InputError: a word is neither, or nothing tells whose band it is.
    """
    listed: dict[str, list[str]] = {sensor.name: [] for sensor in sensors}
    names: list[str] = []
    known = {sensor.name: sensor for sensor in sensors}
    known |= {name: sensor for name, sensor in SENSORS.items() if name not in known}
    for word in (word.strip() for word in words):
        of_word = next(filter(None, (spelled(sensor, word) for sensor in (*sensors, *SENSORS.values()))), None)
        if word in listed and len(sensors) > 1:
            listed[word] += known[word].bands
        elif word in known:
            names += known[word].bands
        elif of_word:
            names.append(of_word)
        else:
            tables = "; ".join(f"{sensor.name} = {','.join(sensor.bands)}" for sensor in known.values())
            raise InputError(f"--bands: {word!r} is no band; expected names in file order, of: {tables}")
    left = [sensor for sensor in sensors if not listed[sensor.name]]
    if names and not left:
        raise InputError(
            f"--bands: {names[0]} beside {', '.join(listed)}, which stand for all their bands; leave it out"
        )
    return listed | ({left[0].name: names} if len(left) == 1 else _shared(names, left))


def _shared(names: Sequence[str], sensors: Sequence[Sensor]) -> dict[str, list[str]]:
    """Returns {sensor: names} of names that stand there without their sensors."""
    own = {s.name: [band for band in (spelled(s, name) for name in names) if band] for s in sensors}
    if stray := [name for name in names if not any(spelled(sensor, name) for sensor in sensors)]:
        raise InputError(
            f"--bands: {', '.join(stray)} is a band of none of {', '.join(own)}; name the sensors by themselves whose "
            "files hold their bands in the order of the network, so that one is left that the others are of"
        )
    if all(len(set(bands)) == len(bands) for bands in own.values()):
        return own
    runs = _runs(names, [sensor for sensor in sensors if own[sensor.name]])
    if len(runs) > 1:
        first, other = ("; ".join(f"{name} {','.join(bands)}" for name, bands in one.items()) for one in runs)
        raise InputError(
            f"--bands={','.join(names)}: may mean {first}, or {other}; name a sensor by itself where its file holds "
            f"its bands in the order of the network, e.g. --bands={','.join(own)}, or write the names into the files"
        )
    return own | next(iter(runs), {})


def _runs(names: Sequence[str], sensors: Sequence[Sensor]) -> list[dict[str, list[str]]]:
    """Returns the first two ways to cut names into one run for each sensor, which holds each of its bands once.

    Sensors may stand in any order; of two orders that give the same, one is returned. At most two are looked for.
    """
    if not names or not sensors:
        return [] if names or sensors else [{}]
    found: list[dict[str, list[str]]] = []
    tried: dict[frozenset[str], tuple[str, list[dict[str, list[str]]]]] = {}
    for sensor in sensors:
        run = [spelled(sensor, name) or name for name in names[: len(sensor.bands)]]
        bands = frozenset(sensor.bands)
        if bands in tried:  # the ways of a sensor with the same bands, and the two change places: of 20 dates 20! do
            twin, of_twin = tried[bands]
            ways = [way | {twin: way[sensor.name], sensor.name: way[twin]} for way in of_twin]
        elif sorted(run) == sorted(sensor.bands):
            rest = [other for other in sensors if other is not sensor]
            ways = [{sensor.name: run} | way for way in _runs(names[len(run) :], rest)]
            tried[bands] = sensor.name, ways
        else:
            continue
        found += [way for way in ways if way not in found]
    return found[:2]


def _of_folders(folders: dict[str, pathlib.Path]) -> dict[str, dict[str, pathlib.Path]]:
    """Returns {scene name: {sensor: file}} of the rasters in the folders {sensor: folder}."""
    scenes: dict[str, dict[str, pathlib.Path]] = {}
    for sensor, folder in folders.items():
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in (*RASTERS, store.SUFFIX) or path.name.startswith("."):
                continue  # hidden ones are what macOS leaves beside a file
            if path.exists() and not path.is_file() and not store.root_of(path):
                _log.warning("%s: %s and no scene; left out", path, files.kind_of(path.stat().st_mode))
                continue
            _add(scenes, path.stem, sensor, path)
    if not scenes:
        raise InputError(
            f"--scene={','.join(map(str, folders.values()))}: no raster in it; expected files that end in "
            f"{' '.join(RASTERS)}"
        )
    for name, of_scene in scenes.items():
        if lacking := next((folder for sensor, folder in folders.items() if sensor not in of_scene), None):
            raise InputError(
                f"{next(iter(of_scene.values()))}: {lacking} holds no file of that name; expected the scene {name} in "
                "each folder"
            )
    return dict(sorted(scenes.items()))


def _of_search(
    text: str, sensors: Sequence[Sensor]
) -> tuple[dict[str, dict[str, pathlib.Path]], dict[str, dict[str, Any]]]:
    """Returns {scene name: {sensor: assets}} of the items that a STAC search finds, and more as `_of_list`."""
    if len(sensors) > 1:
        names = ", ".join(sensor.name for sensor in sensors)
        raise InputError(
            f"--scene={text.partition('?')[0]}: a search, which finds scenes of one sensor, but the network takes "
            f"{names}; list the items of each in a CSV"
        )
    (sensor,) = sensors
    scenes: dict[str, dict[str, pathlib.Path]] = {}
    told: dict[str, dict[str, Any]] = {}
    for name, item in stac_search.items(text).items():
        scenes[name], error = _found({sensor.name: item}, sensors)
        told[name] = {"origin": f"--scene={addresses.given(text, '--scene')}", "error": error}
    return scenes, told


def _found(
    files: dict[str, pathlib.Path], sensors: Sequence[Sensor]
) -> tuple[dict[str, pathlib.Path], InputError | None]:
    """Returns the files as `with_assets`, or as they are, and why: one bad item of many is a scene that fails."""
    try:
        return with_assets(files, sensors), None
    except InputError as error:
        return files, error


def _of_list(
    path: pathlib.Path, sensors: Sequence[Sensor]
) -> tuple[dict[str, dict[str, pathlib.Path]], dict[str, dict[str, Any]]]:
    """Returns what a CSV with a column for each sensor lists; paths are relative to the CSV.

    Returns:
      {scene name: {sensor: file}}, and what else of `Listed` its line tells: {scene name: {"origin": ..., ...}}.
    """
    columns = {sensor.name: sensor.name.lower() for sensor in sensors}
    scenes: dict[str, dict[str, pathlib.Path]] = {}
    told: dict[str, dict[str, Any]] = {}
    for line, row in csv_rows.read(path, list(columns.values()), ",".join(columns)):
        where = f"{path}, line {line}"
        if not all(row[column] for column in columns.values()):
            raise InputError(f"{where}: an empty cell; expected a file for each of {','.join(columns)}")
        of_scene = {name: addresses.given(row[low], f"{where}: {name}", path.parent) for name, low in columns.items()}
        of_scene, error = _found(of_scene, sensors)
        scene = list(of_scene.values())[-1].stem
        for name, file in of_scene.items():
            _add(scenes, scene, name, file, where)
        date, mask = (None if name in columns.values() else row.get(name) or None for name in ("date", "mask"))
        told[scene] = {
            "origin": where,
            "error": error,
            "date": acquisition.parse_date(date, f"{where}: date"),
            "mask": exclusions.parse(mask, f"{where}: mask", path.parent, must_exist=False) if mask else None,
        }
    return scenes, told


def _add(
    scenes: dict[str, dict[str, pathlib.Path]], name: str, sensor: str, path: pathlib.Path, origin: str = ""
) -> None:
    of_scene = scenes.setdefault(name, {})
    if sensor in of_scene:
        where = f"{origin}: {path}" if origin else path
        raise InputError(
            f"{where}: a second scene called {name} (the other: {of_scene[sensor]}), and their maps would have one "
            "name; rename one"
        )
    of_scene[sensor] = path
