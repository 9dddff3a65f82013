"""DFC2020 (labelled) and SEN12MS (unlabelled pairs) as they are unpacked from the published archives.

Files are recognised by their own names, wherever they lie below the source folder, so that both published namings of
folders (`s2_0` and `s2_validation`) and renamed copies work. Layout and splits: data_pipelines/dfc2020/README.md.
"""

import os
import pathlib
import re
import warnings

import numpy as np

from data_pipelines import bands, legends
from data_pipelines.errors import InputError
from data_pipelines.spec import DatasetSpec, Item, Record, Refused

_NAME = re.compile(
    r"(?P<roi>ROIs(?P<code>\d+)_(?P<season>[a-z]+))_(?P<part>s1|s2|dfc)_(?P<scene>[A-Za-z0-9]+)_p(?P<patch>\d+)\.tif"
)
_SPLITS = {
    "validation": "validation",
    "test": "test",
    "spring": "unlabelled",
    "summer": "unlabelled",
    "fall": "unlabelled",
    "winter": "unlabelled",
}
_LABELLED = ("validation", "test")


def index(source: pathlib.Path) -> dict[str, list[Item]]:
    """All records below `source`, by split, in the order of season, scene number and patch number.

    A record is listed when one of its files is there; for a file that is missing the path where it should be is given,
    so that reading refuses the record by name. Raises InputError when two files claim the same part of a record.
    """
    found: dict[tuple, dict[str, pathlib.Path]] = {}
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for match in filter(None, map(_NAME.fullmatch, sorted(names))):
            split = _SPLITS.get(match["season"])
            if split is None or (match["part"] == "dfc" and split not in _LABELLED):
                continue
            # DFC2020 has one scene; its files call it "0" or repeat the split's name.
            scene = int(match["scene"]) if match["scene"].isdigit() else 0
            key = (split, int(match["code"]), match["season"], scene, int(match["patch"]), match["roi"])
            path = pathlib.Path(folder) / match[0]
            parts = found.setdefault(key, {})
            if match["part"] in parts:
                raise InputError(
                    f"{path}: the same patch is also in {parts[match['part']]}; expected one file for each sensor and "
                    "patch; move one of the two folders out of --source"
                )
            parts[match["part"]] = path

    splits: dict[str, list[Item]] = {}
    for key in sorted(found):
        split, _, _, scene, patch, roi = key
        wanted = {"s1": "s1", "s2": "s2"} | ({"label": "dfc"} if split in _LABELLED else {})
        files = {field: found[key].get(part) or _beside(found[key], part) for field, part in wanted.items()}
        splits.setdefault(split, []).append(Item(f"{roi}_{scene}_p{patch}", files))
    return splits


def _beside(parts: dict[str, pathlib.Path], missing: str) -> pathlib.Path:
    """Where the missing part of a record should be, judged by where a partner is."""
    part, path = next(iter(parts.items()))
    folder = path.parent.with_name(path.parent.name.replace(part, missing, 1))
    return folder / path.name.replace(f"_{part}_", f"_{missing}_")


def read(item: Item) -> Record:
    """One record: s1 (H, W, 2) int16 in 0.01 dB, s2 (H, W, 13) uint16, label (H, W) uint8 (255 where there are none).

    Raises Refused for a file that is missing or unreadable, of another band count or dtype, not square, of another
    size than its partner, with NaN, nodata or negative reflectance, or with a label outside the legend.
    """
    for path in item.files.values():
        if not path.is_file():
            raise Refused(path, "no such file, but its partners are there")
    s1 = _read_sensor(item.files["s1"], bands.S1, ("float32", "float64"))
    s2 = _read_sensor(item.files["s2"], bands.S2, ("uint8", "int16", "uint16", "int32", "uint32"))
    _same_size(item.files["s2"], s2, s1)
    if s2.min() < 0 or s2.max() > np.iinfo(np.uint16).max:
        raise Refused(item.files["s2"], f"reflectance from {s2.min()} to {s2.max()}, expected 0 to 65535")
    if "label" in item.files:
        label = _read_label(item.files["label"], legends.DFC2020)
        _same_size(item.files["label"], label, s1)
    else:
        label = np.full(s1.shape[:2], legends.IGNORE, np.uint8)
    return Record({"s1": bands.to_storage(bands.S1, s1), "s2": s2.astype(np.uint16), "label": label})


def _read_sensor(path: pathlib.Path, sensor: bands.Sensor, dtypes: tuple[str, ...]) -> np.ndarray:
    """The file's values (H, W, bands) in the sensor's band order, all of them finite and none of them nodata."""
    values, names, nodata = _read(path, len(sensor.bands), dtypes)
    known = [bands.canonical(name) for name in names]
    if any(name in sensor.bands for name in known):
        if set(known) != set(sensor.bands):
            raise Refused(path, f"bands named {', '.join(map(str, names))}, expected {', '.join(sensor.bands)}")
        values = values[[known.index(band) for band in sensor.bands]]
    if not np.isfinite(values).all():
        raise Refused(path, f"{np.count_nonzero(~np.isfinite(values))} values are NaN or infinite, expected none")
    if nodata is not None and (values == nodata).any():
        raise Refused(path, f"{np.count_nonzero(values == nodata)} values are nodata ({nodata:g}), expected none")
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _read_label(path: pathlib.Path, legend: legends.Legend) -> np.ndarray:
    values, _, _ = _read(path, 1, ("uint8",))
    strange = np.setdiff1d(values, legend.allowed_ids)
    if strange.size:
        raise Refused(
            path, f"label {', '.join(map(str, strange[:5]))} is not in the legend, expected 0 to 10 or 255 (no label)"
        )
    return values[0]


def _read(path: pathlib.Path, count: int, dtypes: tuple[str, ...]) -> tuple[np.ndarray, tuple, float | None]:
    """A whole GeoTIFF: values (bands, H, W), its band descriptions and its nodata value."""
    import rasterio  # here, because training reads shards and needs no GeoTIFF library

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # position is of no use here
            with rasterio.open(path) as raster:
                if raster.count != count:
                    raise Refused(path, f"{raster.count} bands, expected {count}")
                if raster.dtypes[0] not in dtypes:
                    raise Refused(path, f"dtype {raster.dtypes[0]}, expected {' or '.join(dtypes)}")
                if raster.height != raster.width:
                    raise Refused(path, f"{raster.width} x {raster.height} pixels, expected a square")
                return raster.read(), raster.descriptions, raster.nodata
    except rasterio.errors.RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise Refused(path, f"cannot be read as GeoTIFF ({reason}); damaged or truncated, download it again") from error


def _same_size(path: pathlib.Path, values: np.ndarray, partner: np.ndarray) -> None:
    if values.shape[:2] != partner.shape[:2]:
        raise Refused(path, f"{values.shape[1]} pixels wide, expected {partner.shape[1]} as in the Sentinel-1 file")


DFC2020 = DatasetSpec(
    name="dfc2020",
    version="1.0.0",
    title="IEEE GRSS Data Fusion Contest 2020 (labelled), with Sentinel-1/2 pairs of SEN12MS (unlabelled)",
    sensors=(bands.S1, bands.S2),
    legend=legends.DFC2020,
    tile=256,
    licence="the terms shown with the archives; see data_pipelines/dfc2020/README.md",
    homepage="https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest",
    citation=(
        "Robinson et al. (2021), Global land-cover mapping with weak supervision: outcome of the 2020 IEEE GRSS Data "
        "Fusion Contest, IEEE JSTARS 14; Schmitt et al. (2019), SEN12MS, ISPRS Annals IV-2/W7"
    ),
    layout=(
        "ROIs0000_validation/{s1,s2,dfc}_0/ROIs0000_validation_{s1,s2,dfc}_0_p12.tif, the same with ROIs0000_test, and "
        "for unlabelled pairs ROIs1158_spring/{s1,s2}_7/ROIs1158_spring_{s1,s2}_7_p30.tif"
    ),
    index=index,
    read=read,
)
