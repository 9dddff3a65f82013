"""`prepare --init` of several sensors: folders side by side, whose files of the same name are of the same place."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from data_pipelines.datasets.rasters import columns, init_legend, init_names
from data_pipelines.geo import raster_io
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import is_name
from data_pipelines.schema.spec import Refused

UNLABELLED = "unlabelled"  # the split of places without a mask
_FEW_VALUES = 64  # whole numbers that an image of one band holds, which may be a mask


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one place, relative to the source.

    Attributes:
      images: of each sensor, in order.
      mask: None where there is none.
      holder: the folder that holds the folders of its sensors.
    """

    images: dict[str, pathlib.Path]
    mask: pathlib.Path | None
    holder: pathlib.Path

    @property
    def image(self) -> pathlib.Path:
        """The image of the first sensor."""
        return next(iter(self.images.values()))


def find(source: pathlib.Path, rasters: Iterable[pathlib.Path]) -> tuple[list[Place], list[pathlib.Path]]:
    """The places whose images lie in folders side by side, sorted; and the rasters that are of none of them.

    Of each place there is an image in every folder that holds any; a mask may be missing. No place is found where there
    are fewer than two such folders. Folders named after splits are of no sensor, and files named after a mask, an image
    or a band are no place: there each folder is one.

    Args:
      source: the folder.
      rasters: below it, relative to it.
    """
    of_place: dict[tuple, dict[str, list[pathlib.Path]]] = {}
    for path in rasters:
        folder = path.parent.name
        key = path.parent.parent, path.stem.lower()
        of_place.setdefault(key, {}).setdefault(folder, []).append(path)
    names: collections.Counter[str] = collections.Counter()
    for (_, stem), folders in of_place.items():
        images = [folder for folder in folders if _is_of_sensor(folder) and not init_names.is_no_place(stem)]
        names.update(images if len(images) > 1 else ())
    most = max(names.values(), default=0)
    called = _called(sorted(name for name, count in names.items() if 2 * count >= most))  # not what few places have
    places: list[Place] = []
    used: set[pathlib.Path] = set()
    for (holder, stem), folders in of_place.items():
        found = {folder: paths[0] for folder, paths in folders.items() if len(paths) == 1}
        like = {folder: path for folder, path in found.items() if init_names.is_of_masks(folder)}
        masks = [path for folder, path in like.items() if folder.lower() in init_names.MASKS] or list(like.values())
        is_whole = len(called) > 1 and found.keys() >= called.keys() and len(masks) <= 1
        if is_whole and not init_names.is_no_place(stem):
            of_sensors = {name: found[folder] for folder, name in called.items()}
            places.append(Place(of_sensors, masks[0] if masks else None, holder))
            used.update((*of_sensors.values(), *masks))
    places = _first_like_mask(source, places)
    alone = {path for folders in of_place.values() for paths in folders.values() for path in paths} - used
    return sorted(places, key=lambda place: place.image), sorted(alone)


def _is_of_sensor(folder: str) -> bool:
    return bool(folder) and not init_names.is_of_masks(folder) and folder.lower() not in init_names.SPLITS


def _called(folders: Sequence[str]) -> dict[str, str]:
    """Folder -> the name of its sensor. Raises InputError for two folders of one name."""
    called: dict[str, str] = {}
    for folder in folders:
        name = init_names.sensor_name(folder)
        if not (columns.is_free(name) and is_name(name)):
            name = f"image_{name}"[:40].rstrip("_")
        if name in called.values():
            raise InputError(
                f"--source: the folders {', '.join(folders)}: two of them would be called {name}; rename one"
            )
        called[folder] = name
    return called


def _first_like_mask(source: pathlib.Path, places: Sequence[Place]) -> list[Place]:
    """The places with a sensor first that has the pixels of the masks, or else the most: all others follow its grid."""
    shown = next((place for place in places if place.mask), next(iter(places), None))
    if shown is None:
        return []
    sizes = {name: _size(source / path) for name, path in shown.images.items()}
    wanted = _size(source / shown.mask) if shown.mask else max(sizes.values())
    order = sorted(sizes, key=lambda name: sizes[name] != wanted)
    return [dataclasses.replace(place, images={name: place.images[name] for name in order}) for place in places]


def _size(path: pathlib.Path) -> tuple[int, int]:
    try:
        with raster_io.opened(path) as dataset:
            return dataset.height, dataset.width
    except Refused:
        return 0, 0


def groups_of(places: Sequence[Place], groups: Sequence[str]) -> tuple[list[str], int]:
    """The groups, without those of unlabelled places in which others have labels; and how many places that concerns.

    A group is never in two splits.
    """
    labelled = {group for place, group in zip(places, groups, strict=True) if place.mask}
    mixed = [group in labelled and bool(group) and not place.mask for place, group in zip(places, groups, strict=True)]
    return ["" if both else group for both, group in zip(mixed, groups, strict=True)], sum(mixed)


def without_masks(source: pathlib.Path, place: Place) -> list[str]:
    """A remark where no folder of masks was found, and folders that may be one: of one band of few whole numbers."""
    with raster_io.anywhere():
        looked = {path.parent.name: init_legend.look(source / path) for path in place.images.values()}
    like = [name for name, seen in looked.items() if seen and not seen.coloured and len(seen.pixels) <= _FEW_VALUES]
    if not like:
        return []
    return [
        f"no folder of masks was found, but {', '.join(like)} may be one: its images hold few whole numbers. A network "
        "that is shown masks as images has seen the answers; if it is one, rename it to masks, delete the CSV, and try "
        "again"
    ]
