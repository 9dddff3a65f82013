"""What a map consists of, and whether it may be written: no file that is read, or that is somebody's, is replaced."""

import contextlib
import os
import pathlib
import platform
import shutil
import tempfile
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from data_pipelines.remote.addresses import Address
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from lcjax.mapping import drafts, map_writer, qgis_styles, scene_files
from lcjax.mapping.map_writer import Product
from lcjax.mapping.scene_list import Job

ANOTHER = "give another --output"
_NOTHING: Mapping[pathlib.Path, str] = MappingProxyType({})


def files_of(output: pathlib.Path, wanted: Sequence[Product]) -> dict[str, pathlib.Path]:
    """Returns every file that a map may consist of, the map itself first.

    Args:
      output: the map.
      wanted: its GeoTIFFs, the classes first, and its polygons.

    Returns:
      Role -> path: "classes" and the kinds of the other products, rasters also with "_style"; "names", "areas",
      "preview", "scenes" of a mosaic, and "item", which is written only where the date of the scene is known.
    """
    rasters = {product.kind: product.path(output) for product in wanted}
    styles = {f"{product.kind}_style": rasters[product.kind].with_suffix(".qml") for product in wanted if product.bands}
    beside = {"areas": ".areas.csv", "preview": ".png", "item": ".json"}
    if "scene" in rasters:
        beside["scenes"] = ".scenes.csv"
    names = {"names": output.with_name(f"{output.name}.aux.xml")}
    return rasters | styles | names | {role: output.with_suffix(end) for role, end in beside.items()}


def check(jobs: Sequence[Job], wanted: Sequence[Product], also_read: Mapping[pathlib.Path, str] = _NOTHING) -> None:
    """Checks everything that a command will write, and makes the folders of its maps, before any work.

    Args:
      jobs: the scenes of the command, and their maps.
      wanted: the GeoTIFFs of each map.
      also_read: files that are read, too, and what each is, for messages.

    Raises:
      InputError: a name does not fit; nothing can be written there; or what will be written is a file of a scene, is
        a file of another map of the command, or is there already and was not written by lcjax.
    """
    for job in jobs:
        _check_name(job.output)
    _check_scenes(jobs, wanted, also_read)
    _check_others([job.output for job in jobs], wanted)
    for job in jobs:
        _check_folder(job.output, files_of(job.output, wanted).values())
        if not drafts.is_busy(job.output):  # else `drafts.alone` tells who is at work on it
            check_foreign(job.output, wanted)


def check_foreign(output: pathlib.Path, wanted: Sequence[Product]) -> None:
    """Raises InputError where something that lcjax did not write is in the place of a file of the map."""
    draft = drafts.folder_of(output)
    if drafts.is_foreign(draft):
        raise InputError(f"{draft}: is there, and is no draft of lcjax; move it away, or {ANOTHER}")
    for product in wanted:
        raster = product.path(output)
        for part in (raster.with_name(f"{raster.name}.ovr"), raster.with_name(f"{raster.name}.msk")):
            if os.path.lexists(part):  # of a file that lay there before
                raise InputError(
                    f"{part}: is there, and would be read as a part of {raster.name}; delete it, or {ANOTHER}"
                )
    there = [path for path in files_of(output, wanted).values() if os.path.lexists(path)]
    if not there:
        return
    mark = map_writer.read_mark(output)
    own = (mark.files if mark else frozenset()) | drafts.names_on_the_way(output)
    foreign = next((path for path in there if path.name not in own), None)
    if foreign == output:
        raise InputError(f"{output}: is there, and is no map that lcjax wrote; move it away, or {ANOTHER}")
    if foreign and not mark and qgis_styles.is_sidecar(files_of(output, wanted)["names"]):
        raise InputError(
            f"{foreign}: left of a map that lcjax wrote, and {output.name} itself is gone; delete what is left of it "
            f"and move away what is yours ({', '.join(path.name for path in there)}), or {ANOTHER}"
        )
    if foreign:
        whose = "lcjax did not write it with that map" if mark else "there is no map of that name that it belongs to"
        raise InputError(
            f"{foreign}: is there, where a file of the map {output.name} goes, and {whose}; move it away, or {ANOTHER}"
        )


def check_room(
    output: pathlib.Path,
    height: int,
    width: int,
    wanted: Sequence[Product],
    drafted: Sequence[Product] = (),
    more: int = 0,
) -> None:
    """Checks that the disk has room for the rows and for the largest GeoTIFF before compression.

    Args:
      output: the map.
      height, width: of the map in pixels.
      wanted: its GeoTIFFs.
      drafted: products whose planes the draft holds; those that are wanted by default.
      more: further bytes that are written on the way.

    Raises:
      InputError: there is too little room.
    """
    bands = [len(product.bands) for product in wanted]
    largest = max(len(product.bands) * np.dtype(product.dtype).itemsize for product in wanted)
    needed, free = (
        (sum(product.planes for product in drafted or wanted) + largest) * height * width + more,
        shutil.disk_usage(output.parent).free,
    )
    if needed > free:
        raise InputError(
            f"--output={output}: {free / 1e6:,.0f} MB are free there, but a map of {width} x {height} pixels with "
            f"{sum(bands)} bands needs up to {needed / 1e6:,.0f} MB while it is made; make room, or name another disk"
        )


def _check_name(output: pathlib.Path) -> None:
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(
            f"--output={output}: expected a name that ends in .tif, e.g. --output={output.stem or 'map'}.tif"
        )
    if output.is_dir():
        raise InputError(f"--output={output}: a folder; expected the name of a map, e.g. --output={output / 'map.tif'}")


def make_folder(output: pathlib.Path) -> int:
    """Makes the folder of a file and tries to write there; returns how many bytes a name may have.

    Raises:
      InputError: nothing can be written there.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
        return os.pathconf(output.parent, "PC_NAME_MAX")
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot write there ({error.strerror}); name a folder that you may write to"
        ) from error


def _check_folder(output: pathlib.Path, files: Iterable[pathlib.Path]) -> None:
    """Makes the folder, and compares the longest name with what the disk takes."""
    most = make_folder(output)
    added = len(f"..{platform.node()}.{os.getpid()}")  # of a file while it is written
    longest = added + max(len(os.fsencode(path.name)) for path in files)
    if longest > most:
        raise InputError(f"--output={output}: a name that is {longest - most} bytes too long; give a shorter one")


def _check_scenes(jobs: Sequence[Job], wanted: Sequence[Product], also_read: Mapping[pathlib.Path, str]) -> None:
    """Refuses to write what is read: a scene, what GDAL reads with it, or anything else under one of their names."""
    read: dict[Hashable, tuple[pathlib.Path, pathlib.Path]] = {}
    folders: dict[pathlib.Path, pathlib.Path] = {}
    what = dict(also_read)
    what |= {job.mask.path: "the mask itself" for job in jobs if job.mask}
    what |= {raster: "the scene itself" for job in jobs for raster in job.files.values()}
    for raster in what:
        if isinstance(raster, Address) and raster.is_remote:  # nothing is written on servers
            continue
        for file in (file for file in scene_files.listed(raster) if not isinstance(file, Address)):
            read |= {key: (file, raster) for key in _keys(file) if key not in read}
            folders |= dict.fromkeys(paths.real(file).parents, file)
    for job in jobs:
        for path in files_of(job.output, wanted).values():
            clash = next((read[key] for key in _keys(path) if key in read), None)
            if clash and clash[0] == clash[1] and path == job.output:
                raise InputError(f"--output={path}: {what[clash[1]]}; expected a new name for the map")
            if clash:
                file, raster = clash
                of = what[raster] if file == raster else f"read for the scene {raster}"
                also = "" if path.name == file.name else f" ({file})"
                raise InputError(f"--output={job.output}: {path} would be written, but it is {of}{also}; {ANOTHER}")
        draft = drafts.folder_of(job.output)
        if paths.real(draft) in folders:
            raise InputError(f"{folders[paths.real(draft)]}: lies in the draft of {job.output}; {ANOTHER}")


def _check_others(maps: Sequence[pathlib.Path], wanted: Sequence[Product]) -> None:
    """Refuses two maps of one command that would share a file."""
    owners: dict[Hashable, pathlib.Path] = {}
    for output in maps:
        keys = {key: path for path in files_of(output, wanted).values() for key in _keys(path)}
        if shared := next((key for key in keys if key in owners), None):
            raise InputError(
                f"{keys[shared]}: would be written for two maps, {owners[shared]} and {output}; rename one of the "
                "scenes, or map them into two folders"
            )
        owners |= dict.fromkeys(keys, output)


def _keys(path: pathlib.Path) -> list[Hashable]:
    """What two paths of one file have in common: the place, upper or lower case, behind links, or the file itself."""
    keys: list[Hashable] = [_place(path), _place(paths.real(path))]
    with contextlib.suppress(OSError):
        about = path.stat()
        keys.append((about.st_dev, about.st_ino))
    return keys


def _place(path: pathlib.Path) -> Hashable:
    name = unicodedata.normalize("NFC", path.name).casefold()
    try:
        folder = path.parent.stat()
    except OSError:
        return paths.real(path.parent), name
    return folder.st_dev, folder.st_ino, name
