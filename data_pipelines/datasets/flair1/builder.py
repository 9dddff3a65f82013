"""FLAIR-1 in either release of IGN: the zips of images and of labels, or one zip a domain from Hugging Face.

Files are recognised by their own names, domain and zone by the folders that they lie in, so that both layouts, the toy
set and renamed copies work. Layouts, splits and faults: data_pipelines/datasets/flair1/README.md.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from data_pipelines.datasets.flair1 import metadata, partitions
from data_pipelines.datasets.flair1.downloads import DOWNLOADS
from data_pipelines.datasets.flair1.legend import FLAIR1 as LEGEND
from data_pipelines.datasets.flair1.legend import FLAIR1_12, FLAIR1_13, FLAIR1_15
from data_pipelines.datasets.flair1.protocols import PROTOCOLS
from data_pipelines.geo import geotiff, grids, packing
from data_pipelines.schema import files, sensors
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.spec import DatasetSpec, Extent, Item, Place, Record, Refused

_NAME = re.compile(r"(?P<kind>IMG|MSK)_(?P<number>\d{6})\.tif")
_DOMAIN = re.compile(r"(?<![A-Z0-9])D\d{3}_\d{4}(?!\d)")
_ZONE = re.compile(r"(?<![A-Z0-9])Z(?P<number>\d+)_[A-Z]{2}(?![A-Z])")
_PARTS = {"IMG": "aerial", "MSK": "label"}
# Words in the path of an image, and those that stand for them in the path of its mask.
_WORDS = (("aerial", "labels"), ("img", "msk"), ("IMG_", "MSK_"))
_PARTNERS = {"aerial": tuple(words[::-1] for words in _WORDS), "label": _WORDS}
_EPSG = 2154  # Lambert-93; the files say metres and no more
_EXTENT = ((-400_000, 1_400_000), (6_000_000, 7_300_000))  # of EPSG:2154, in metres

_Key = tuple[str, str, int]  # domain, zone, number; "" where the folders do not tell


def index(folders: Sequence[pathlib.Path]) -> dict[str, list[Item]]:
    """All patches below the folders, by split, in the order of domain, zone and number.

    A patch is listed when its image or its mask is there; for the other one the path where it should be is given, so
    that reading refuses the patch by name. Patches whose folders do not tell domain and zone, and those whose entry in
    the metadata cannot be understood, are listed as refused. Files of an earlier folder hide those of a later one.

    Raises InputError when one folder holds a file twice, and for metadata that is not JSON.
    """
    found: dict[_Key, dict[str, pathlib.Path]] = {}
    entries: dict[str, tuple[pathlib.Path, object]] = {}
    for folder in folders:
        here: dict[_Key, dict[str, pathlib.Path]] = {}
        for path in files.below(folder):
            if match := _NAME.fullmatch(path.name):
                part, parts = _PARTS[match["kind"]], here.setdefault(_key(path, int(match["number"])), {})
                if part in parts:
                    raise InputError(
                        f"{path}: the same patch is also in {parts[part]}; expected one image and one mask of each "
                        "patch; move one of the two folders out of --source"
                    )
                parts[part] = path
            elif metadata.NAME.fullmatch(path.name):
                entries = {name: (path, entry) for name, entry in metadata.read(path).items()} | entries
        for key, parts in here.items():
            found[key] = parts | found.get(key, {})

    splits: dict[str, list[Item]] = {split: [] for split in (*partitions.OFFICIAL, partitions.OTHER)}
    nowhere: list[Item] = []
    for key in sorted(found, key=_order):
        domain, zone, number = key
        paths = {part: found[key].get(part) or _partner(found[key], part, folders) for part in _PARTNERS}
        to = splits[partitions.split_of(domain, number)] if domain and zone else nowhere
        to.append(_item(key, paths, entries))
    # Refused wherever they are counted: a split of their own would hold nothing.
    next(filter(None, splits.values()), splits[partitions.OTHER]).extend(nowhere)
    return {split: items for split, items in splits.items() if items}


def _key(path: pathlib.Path, number: int) -> _Key:
    """Domain and zone as the innermost folders tell them that do."""
    folders = path.absolute().parts[-2::-1]
    domain, zone = (next(filter(None, map(name.search, folders)), None) for name in (_DOMAIN, _ZONE))
    return domain[0] if domain else "", zone[0] if zone else "", number


def _order(key: _Key) -> tuple[str, int, str, int]:
    domain, zone, number = key
    match = _ZONE.fullmatch(zone)
    return domain, int(match["number"]) if match else -1, zone, number


def _item(key: _Key, paths: dict[str, pathlib.Path], entries: dict[str, tuple[pathlib.Path, object]]) -> Item:
    domain, zone, number = key
    name = f"IMG_{number:06d}"
    vector, refused = metadata.UNKNOWN, None
    if not (domain and zone):
        path = next(path for path in paths.values() if path.exists())
        refused = Refused(path, "no domain and zone in its folders, expected some such as D004_2021/Z10_AU")
    elif name in entries:
        path, entry = entries[name]
        try:
            vector = metadata.numbers(entry)
        except ValueError as error:
            refused = Refused(path, f"{name}: {error}; download it again, or move it out of --source to go without")
    return Item(
        id="/".join(filter(None, (domain, zone, name))),
        files=paths,
        vectors={metadata.VECTOR.name: vector},
        refused=refused,
        group="/".join(filter(None, (domain, zone))),
    )


def _partner(parts: dict[str, pathlib.Path], missing: str, folders: Sequence[pathlib.Path]) -> pathlib.Path:
    """Where the missing part of a patch should be, judged by where the other one is."""
    (there,) = parts.values()
    folder = next(folder for folder in folders if there.is_relative_to(folder))
    name = there.relative_to(folder).as_posix()
    for old, new in _PARTNERS[missing]:
        name = name.replace(old, new)
    return folder / name


def read(item: Item, *, max_nodata: float = 0.0) -> Record:
    """One patch: aerial (H, W, 5) uint8 in the order R, G, B, NIR, elevation, label (H, W) uint8, ids 1 to 19.

    Pixels without data, at most the share `max_nodata`, hold the mean of their band and label 255. The place is the
    centre in EPSG:2154, which the published files do not name.

    Raises Refused for a file that is missing or unreadable, of another band count or dtype, not square, on another
    grid than its partner, with too many pixels without data, or with a label outside the legend.
    """
    for path in item.files.values():
        if not path.is_file():
            raise Refused(path, "no such file, but its partner is there")
    image_path, mask_path = item.files["aerial"], item.files["label"]
    image = geotiff.read(image_path, count=len(sensors.AERIAL.bands), dtypes=("uint8",), max_nodata=max_nodata)
    image = geotiff.in_order(image_path, image, sensors.AERIAL)
    packing.conversion(image_path, image.packed, sensors.AERIAL.packing, "in FLAIR-1")
    mask = geotiff.label(mask_path, LEGEND)
    grids.check_same({image_path: image.grid, mask_path: mask.grid})
    nodata = int(np.count_nonzero(~image.valid))
    parts = {
        "aerial": np.ascontiguousarray(geotiff.filled(image.values, image.valid)),
        "label": np.where(image.valid, mask.values[:, :, 0], np.uint8(IGNORE)),
        metadata.VECTOR.name: np.array(item.vectors[metadata.VECTOR.name]),
    }
    place, extent = _whereabouts(image)
    return Record(parts, counted=image.valid if nodata else None, nodata=nodata, place=place, extent=extent)


def _whereabouts(image: geotiff.Patch) -> tuple[Place | None, Extent | None]:
    """Centre and extent, in EPSG:2154 where the file names no other CRS and the numbers can be that."""
    inside = all(low <= value <= high for value, (low, high) in zip(image.centre, _EXTENT, strict=True))
    if image.place or not inside:
        return image.place, image.extent
    return Place(_EPSG, *image.centre), Extent(f"EPSG:{_EPSG}", image.bounds)


FLAIR1 = DatasetSpec(
    name="flair1",
    version="1.0.0",
    title="FLAIR-1: land cover of France from aerial images at 0.2 m",
    sensors=(sensors.AERIAL,),
    legends=(LEGEND, FLAIR1_13, FLAIR1_12, FLAIR1_15),
    tile=512,
    licence="Licence Ouverte / Open Licence 2.0 (Etalab); IGN",
    homepage="https://ignf.github.io/FLAIR/",
    citation=(
        "Garioud et al. (2022), FLAIR #1: semantic segmentation and domain adaptation dataset, "
        "doi:10.13140/RG.2.2.30183.73128/1, arXiv:2211.12979"
    ),
    layout=(
        "flair_aerial_train/D004_2021/Z10_AU/img/IMG_000826.tif with flair_labels_train/D004_2021/Z10_AU/msk/"
        "MSK_000826.tif, or D004_2021/{aerial/Z10_AU/IMG_000826.tif,labels/Z10_AU/MSK_000826.tif}"
    ),
    index=index,
    read=read,
    members=re.compile(f"{_NAME.pattern}|(?i:{metadata.NAME.pattern})"),
    vectors=(metadata.VECTOR,),
    partitions=partitions.partitions,
    protocols=PROTOCOLS,
    downloads=DOWNLOADS,
    options=("max_nodata",),
)
