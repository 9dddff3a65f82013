"""The layout that SEN12MS, DFC2020 and the sample share: names of files, the walk over folders, reading of a triplet.

Files are recognised by their own names, wherever they lie below a folder, so that both published namings of folders
(`s2_0` and `s2_validation`), copies that were renamed or nested, and unpacked archives all work.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_pipelines.geo import geotiff, grids, sentinel2
from data_pipelines.schema import files, legends, sensors
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.spec import Item, Record, Refused

OPTIONS = ("max_nodata", "offset")  # of `read`, as flags of `lcjax prepare`
SEASONS = ("spring", "summer", "fall", "winter")

_NAME = r"ROIs(?P<code>\d{{4}})_(?P<season>{seasons})_(?P<part>{parts})_(?P<scene>\d+|{seasons})_p(?P<patch>\d+)\.tif"
_ID = re.compile(r"ROIs(?P<code>\d{4})_(?P<season>[a-z]+)_(?P<scene>\d+)_p(?P<patch>\d+)")


@dataclasses.dataclass(frozen=True, order=True)
class PatchId:
    """One patch; in the order of region, season, scene and patch number. As text: ROIs1158_spring_63_p100."""

    code: str
    season: str
    scene: int
    patch: int

    def __str__(self) -> str:
        return f"ROIs{self.code}_{self.season}_{self.scene}_p{self.patch}"

    @staticmethod
    def parse(text: str) -> "PatchId":
        """The patch whose text this is. Raises ValueError for other texts."""
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r}: expected for example ROIs1158_spring_63_p100")
        return _patch_of(match)


def _patch_of(match: re.Match) -> PatchId:
    # DFC2020 has one scene; its files call it "0" or repeat the name of the split.
    scene = int(match["scene"]) if match["scene"].isdigit() else 0
    return PatchId(match["code"], match["season"], scene, int(match["patch"]))


def names(seasons: Iterable[str], parts: Iterable[str]) -> re.Pattern[str]:
    """Matches the names of the files of these seasons ("spring", "test") and parts ("s1", "s2", "lc", "dfc")."""
    return re.compile(_NAME.format(seasons="|".join(seasons), parts="|".join(parts)))


def find(folders: Sequence[pathlib.Path], wanted: re.Pattern[str]) -> dict[PatchId, dict[str, pathlib.Path]]:
    """The files of every patch by part, in the order of patches; a file in an earlier folder hides that of a later one.

    Args:
      folders: each is walked with all that is below it. Hidden folders and `__MACOSX` are left out.
      wanted: one of `names`.

    Raises InputError when two files below one folder claim the same part of a patch.
    """
    found: dict[PatchId, dict[str, pathlib.Path]] = {}
    for folder in reversed(folders):
        for patch, parts in _below(folder, wanted).items():
            found.setdefault(patch, {}).update(parts)
    return dict(sorted(found.items()))


def _below(folder: pathlib.Path, wanted: re.Pattern[str]) -> dict[PatchId, dict[str, pathlib.Path]]:
    found: dict[PatchId, dict[str, pathlib.Path]] = {}
    for path in files.below(folder):
        match = wanted.fullmatch(path.name)
        if match is None:
            continue
        parts = found.setdefault(_patch_of(match), {})
        if match["part"] in parts:
            raise InputError(
                f"{path}: the same patch is also in {parts[match['part']]}; expected one file for each sensor and "
                "patch; move one of the two folders out of --source"
            )
        parts[match["part"]] = path
    return found


def check_whole(title: str, found: Iterable[Mapping[str, pathlib.Path]], parts: Mapping[str, str]) -> None:
    """Raises InputError where a part is missing of all patches, as when one archive was not downloaded."""
    counts = {part: sum(part in files for files in found) for part in parts.values()}
    if not all(counts.values()):
        told = ", ".join(f"{count:,} {part}" for part, count in counts.items())
        raise InputError(
            f"{title}: {told} files found below --source; download the missing ones, or move the others out"
        )


def item(patch: PatchId, found: Mapping[str, pathlib.Path], parts: Mapping[str, str]) -> Item:
    """The record of a patch.

    Args:
      patch: of which its id is made.
      found: its files by part.
      parts: what the record calls a part -> what the files call it, e.g. {"label": "lc"}. For one that was not found
        the path where it should be is given, so that reading refuses the record by name.
    """
    paths = {field: found.get(part) or _beside(found, part) for field, part in parts.items()}
    # Names of DFC2020 tell a split where those of SEN12MS tell season and scene.
    return Item(str(patch), paths, group=f"{patch.season}_{patch.scene}" if patch.season in SEASONS else "")


def _beside(found: Mapping[str, pathlib.Path], missing: str) -> pathlib.Path:
    """Where the missing part of a patch should be, judged by where a partner is."""
    part, path = next(iter(found.items()))
    folder = path.parent.with_name(path.parent.name.replace(part, missing, 1))
    return folder / path.name.replace(f"_{part}_", f"_{missing}_")


def read(item: Item, legend: Legend, label_bands: int, *, max_nodata: float = 0.0, offset: int = 0) -> Record:
    """One record: s1 (H, W, 2) int16 in 0.01 dB, s2 (H, W, 13) uint16, label (H, W) uint8 (255 where there are none).

    Args:
      item: with the paths of all parts.
      legend: of the first band of the label's file.
      label_bands: how many bands the label's file has.
      max_nodata: the share of pixels that may be without data. They are filled with the mean of their band, their
        label is 255, and they are not counted.
      offset: added to the numbers of Sentinel-2, which stay 0 or more: -1000 for processing baseline 04.00 and later.

    Raises Refused for a file that is missing or unreadable, of another band count or dtype, not square, on another
    grid than its partner, with too many pixels without data, with numbers that are not what the unit says (see
    `_check_backscatter` and `_check_reflectance`), or with a label outside the legend.
    """
    for path in item.files.values():
        if not path.is_file():
            raise Refused(path, "no such file, but its partners are there")
    radar = _sensor(item.files["s1"], sensors.S1, ("float32", "float64"), max_nodata)
    optical = _sensor(item.files["s2"], sensors.S2, ("uint8", "int16", "uint16", "int32", "uint32"), max_nodata)
    patches = {item.files["s1"]: radar, item.files["s2"]: optical}
    if "label" in item.files:
        patches[item.files["label"]] = geotiff.label(item.files["label"], legend, count=label_bands)
    radar = dataclasses.replace(radar, values=_unpacked(radar))
    grids.check_same({path: patch.grid for path, patch in patches.items()})
    _check_backscatter(item.files["s1"], radar.values[radar.valid])
    doubt = _check_reflectance(item.files["s2"], optical, offset)
    valid = radar.valid & optical.valid
    label = np.full(valid.shape, legends.IGNORE, np.uint8)
    if "label" in item.files:
        label[valid] = patches[item.files["label"]].values[valid, 0]
    s1 = sensors.to_storage(sensors.S1, geotiff.filled(radar.values, radar.valid))
    s2 = sensors.to_storage(sensors.S2, geotiff.filled(_shifted(optical.values, offset), optical.valid))
    nodata = int(np.count_nonzero(~valid))
    return Record(
        {"s1": s1, "s2": s2, "label": label},
        counted=valid if nodata else None,
        nodata=nodata,
        place=optical.place or radar.place,
        extent=optical.extent or radar.extent,
        doubt=doubt,
    )


def _sensor(path: pathlib.Path, sensor: sensors.Sensor, dtypes: tuple[str, ...], max_nodata: float) -> geotiff.Patch:
    """The file with its bands in the order of the sensor. A pixel that is 0 in every band has no data."""
    patch = geotiff.read(path, count=len(sensor.bands), dtypes=dtypes, max_nodata=max_nodata)
    patch = geotiff.in_order(path, patch, sensor)
    valid = patch.valid & sensors.holds_data(patch.values, sensor.zero_is_nodata, axis=2)
    geotiff.check_data(path, valid, max_nodata, "0 in every band or nodata")
    return dataclasses.replace(patch, valid=valid)


_DECIBELS = (-100.0, 50.0)  # no ground and no instrument gives less or more
_STRAY = 0.001  # the share of values of Sentinel-1 beyond them that is clipped rather than refused
_BRIGHT = 30_000  # a reflectance of 3: sunlit slopes under a low sun, glints and saturation come near it
_GLARE = 0.1  # the share of values of Sentinel-2 above it that such places explain


def _check_backscatter(path: pathlib.Path, values: np.ndarray) -> None:
    """Raises Refused where numbers (pixels, 2) cannot be decibels: damage that a decoder misses, or another unit."""
    strange = np.count_nonzero((values < _DECIBELS[0]) | (values > _DECIBELS[1]))
    if strange > _STRAY * values.size:
        raise Refused(
            path,
            f"{strange:,} of {values.size:,} values are below {_DECIBELS[0]:g} or above {_DECIBELS[1]:g}, as no "
            "backscatter in dB is; damaged (download it again), or another unit",
        )
    if values.min() >= 0:
        raise Refused(path, "no value is below 0, as in power or amplitude; expected backscatter in dB")


def _check_reflectance(path: pathlib.Path, optical: geotiff.Patch, offset: int) -> str:
    """Raises Refused where numbers cannot be reflectance x 10,000, or are with another offset.

    Returns what is in doubt, as a phrase; empty where nothing is, or an offset was given: then it was decided.
    """
    values = optical.values[optical.valid]
    low, high = values.min(), values.max()
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise Refused(path, f"reflectance from {low} to {high}, expected 0 to 65535")
    strange = np.count_nonzero(values > _BRIGHT)
    if strange > _GLARE * values.size:
        raise Refused(
            path,
            f"{strange:,} of {values.size:,} values are above {_BRIGHT}, a reflectance of 3; damaged (download it "
            "again), or not reflectance x 10,000",
        )
    before = sentinel2.floors(values, sensors.S2.bands)
    _check_stated(path, optical, before, offset)
    floors = {band: floor + offset for band, floor in before.items()}
    carries = sentinel2.carries_offset(floors)
    if carries:
        raise Refused(
            path,
            f"{sentinel2.why(floors)}; products of processing baseline 04.00 (January 2022 on) carry an offset of "
            "+1000: prepare them with --offset=-1000",
        )
    if band := sentinel2.below_zero(floors):
        raise Refused(
            path,
            f"{band} would be {floors[band]:g} after --offset={offset}, expected 0 or more; this product carries no "
            "such offset: prepare it without --offset",
        )
    if offset or carries is False:
        return ""
    return f"{sentinel2.why(floors)}: it {sentinel2.MAY_CARRY}; if it does, prepare the data set with --offset=-1000"


def _check_stated(path: pathlib.Path, optical: geotiff.Patch, floors: Mapping[str, float], offset: int) -> None:
    """Raises Refused where the file states another unit than reflectance x 10,000, or another offset than the given.

    A tag of the product alone is not believed against the numbers, nor against an --offset: what takes the offset off
    seldom takes off the tag.
    """
    asked, source = sentinel2.stated(path, optical.packed, optical.tags, overruled=bool(offset))
    added = next((round(number) for number in asked if number not in (0, offset)), 0)
    if not added:
        return
    if source != sentinel2.BAND_OFFSET and (
        offset or sentinel2.below_zero({band: floor + added for band, floor in floors.items()})
    ):
        return
    raise Refused(path, f"{source} says {added}, but --offset={offset}; prepare it with --offset={added}")


def _unpacked(radar: geotiff.Patch) -> np.ndarray:
    """Backscatter in dB, as the scale and offset of the file say."""
    if not radar.packed:
        return radar.values
    scale, offset = np.array(radar.packed, radar.values.dtype).T
    return radar.values * scale + offset


def _shifted(values: np.ndarray, offset: int) -> np.ndarray:
    """Numbers of Sentinel-2 (H, W, 13), checked, with the offset taken off: uint16."""
    if not offset:
        return values.astype(np.uint16)
    return np.clip(values.astype(np.int32) + offset, 0, np.iinfo(np.uint16).max).astype(np.uint16)
