"""Damaged inputs: nothing crashes, nothing wrong is prepared, and what is missing is named.

Each group of inputs is damaged 10 times here (flips, cuts, other shapes, ...; damage.py) and 100 times in `make soak`.
"""

import csv
import functools
import json
import pathlib
import re
import tarfile
import zipfile

import damage
import numpy as np
import pytest
from rasterio import Affine

from data_pipelines.datasets import registry as datasets
from data_pipelines.datasets.sample import make
from data_pipelines.prepare import archives, pipeline
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused
from data_pipelines.schema.splits import Splits

EDGE = 32
TIMES = pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.slow)])
# rasterio prints an error of its own where a message of GDAL quotes bytes of a damaged file that are not UTF-8.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@functools.cache
def tile(number: int) -> dict[str, np.ndarray]:
    return make.tile_arrays(0, "validation", number)


@functools.cache
def patch(zone: int) -> dict[str, np.ndarray]:
    return make.patch_arrays(0, zone, 0)


def cut_out(arrays: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """A square of EDGE pixels, another one for every number."""
    across = next(iter(arrays.values())).shape[0] // EDGE
    top, left = (EDGE * k for k in divmod(number % across**2, across))
    return {name: values[top : top + EDGE, left : left + EDGE] for name, values in arrays.items()}


def sentinel(root: pathlib.Path, roi: str, parts: tuple[str, ...], number: int) -> list[pathlib.Path]:
    """Writes one triplet in the layout of SEN12MS and DFC2020."""
    arrays, paths = cut_out(tile(number // 64), number), []
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000 + 320 * number, 0, -10, 5_000_000)}
    for part in parts:
        paths.append(root / roi / f"{part}_0" / f"{roi}_{part}_0_p{number}.tif")
        damage.write_raster(paths[-1], arrays[part], **place)
    return paths


def aerial(root: pathlib.Path, number: int) -> list[pathlib.Path]:
    """Writes one patch in the layout of FLAIR-1."""
    arrays, paths = cut_out(patch(0), number), []
    place = {"crs": make.FLAIR_CRS, "transform": Affine(0.2, 0, 862_000 + 6.4 * number, 0, -0.2, 6_783_000)}
    for part, tree in (("img", "flair_aerial_train"), ("msk", "flair_labels_train")):
        paths.append(root / tree / "D052_2019" / "Z3_AU" / part / f"{part.upper()}_{number:06d}.tif")
        damage.write_raster(paths[-1], arrays[part], **place)
    return paths


WRITERS = {
    "dfc2020": lambda root, number: sentinel(root, "ROIs0000_validation", ("s1", "s2", "dfc"), number),
    "sen12ms": lambda root, number: sentinel(root, "ROIs1158_spring", ("s1", "s2", "lc"), number),
    "flair1": aerial,
}


@TIMES
@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_record_is_prepared_as_it_was_or_named(tmp_path, name, times):
    """Every record but each twelfth has one damaged file."""
    rng, spec = np.random.default_rng(times), datasets.dataset(name)
    numbers = range(times + times // 10 + 1)
    paths = {number: WRITERS[name](tmp_path / "source", number) for number in numbers}
    items = [item for items in spec.index([tmp_path / "source"]).values() for item in items]
    wanted = {item.id: spec.read(item).parts for item in items}
    damaged = {}
    for number, item in zip(numbers, items, strict=True):
        if number % 11:
            path = paths[number][rng.integers(len(paths[number]))]
            how = damage.RASTER[number % len(damage.RASTER)]
            how(path, rng)
            damaged[item.id] = (how.__name__, path)
    assert len(damaged) >= times

    folder = pipeline.write(spec, tmp_path / "source", tmp_path / "data", max_refused=1.0)
    with (folder / "refused.csv").open(newline="") as file:
        refused = {row["id"]: row for row in csv.DictReader(file)}
    dataset = open_dataset(tmp_path / "data", name)
    found = {record["id"]: record for split in dataset.splits for record in dataset.source(split)}
    assert refused.keys() | found.keys() == wanted.keys() and not refused.keys() & found.keys()
    assert refused.keys() <= damaged.keys() and len(refused) > times / 2
    for record_id, record in found.items():
        for part, values in wanted[record_id].items():
            np.testing.assert_array_equal(record[part], values, err_msg=f"{record_id}: {damaged.get(record_id)}")
    for record_id, row in refused.items():
        how, path = damaged[record_id]
        # Where a smaller image is whole by itself, the first partner that differs is named.
        assert row["reason"] and (row["file"] == str(path) or how == "other_shape"), (row, damaged[record_id])


NAMES = re.compile(r"IMG_\d+\.tif")
MEMBERS = {f"d{k}/IMG_{k:06d}.tif": np.random.default_rng(k).bytes(500 * k) + bytes(500) for k in range(8)}


def _write_archive(path: pathlib.Path, root: pathlib.Path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in MEMBERS:
                file.write(root / name, name)
    else:
        with tarfile.open(path, "w:gz") as file:
            for name in MEMBERS:
                file.add(root / name, name)


@TIMES
def test_a_damaged_archive_gives_what_was_in_it_or_names_it(tmp_path, times):
    for name, data in MEMBERS.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    errors = 0
    for seed in range(times):
        rng, source, target = np.random.default_rng(seed), tmp_path / f"{seed}", tmp_path / f"{seed}.unpacked"
        source.mkdir()
        archive = source / ("a.zip" if seed % 2 else "a.tar.gz")
        _write_archive(archive, tmp_path)
        damage.ARCHIVE[rng.integers(len(damage.ARCHIVE))](archive, rng)
        try:
            rows = archives.unpack(source, target, NAMES)
        except InputError as error:
            assert str(archive) in str(error)
            errors += 1
            continue
        written = {str(path.relative_to(target / archive.name)): path for path in target.rglob("*.tif")}
        for name in MEMBERS.keys() & written.keys():
            assert written[name].read_bytes() == MEMBERS[name]
        # A member whose own name was damaged is another one, and the partner of its record will be alone.
        there = archive.read_bytes() if archive.suffix == ".zip" else b""
        renamed = {name for name in MEMBERS if there.count(name.encode()) == 1}
        assert MEMBERS.keys() - written.keys() <= {row.member for row in rows} | renamed
    assert times / 4 < errors < times


@TIMES
def test_damaged_metadata_of_flair_is_refused_or_read_as_it_was(tmp_path, times):
    spec, source = datasets.dataset("flair1"), tmp_path / "source"
    for number in range(3):
        aerial(source, number)
    path = source / "flair-1_metadata_aerial.json"
    entries = {
        f"IMG_{number:06d}": {
            "domain": "D052_2019",
            "zone": "Z3_AU",
            "patch_centroid_x": 862_003.2 + 6.4 * number,
            "patch_centroid_y": 6_782_996.8,
            "patch_centroid_z": 200.0,
            "date": "2019-08-24",
            "time": "09h12",
            "camera": "UCE-M3-f120-s06",
        }
        for number in range(3)
    }
    path.write_text(json.dumps(entries))
    (items,) = spec.index([source]).values()
    wanted = {item.id: (spec.read(item), item.vectors["metadata"]) for item in items}
    for seed in range(times):
        rng, how = np.random.default_rng(seed), damage.JSON[seed % len(damage.JSON)]
        path.write_text(json.dumps(entries))
        how(path, rng)
        try:
            (items,) = spec.index([source]).values()
        except InputError as error:
            assert str(path) in str(error)
            continue
        assert {item.id for item in items} == wanted.keys()
        for item in items:
            if item.refused:
                assert item.refused.file == path
                continue
            record, numbers = wanted[item.id]
            np.testing.assert_array_equal(spec.read(item).parts["aerial"], record.parts["aerial"])
            assert all(np.isfinite(number) or np.isnan(number) for number in item.vectors["metadata"])
            if how in (damage.missing_value, damage.other_entry):
                assert item.vectors["metadata"] == numbers


@TIMES
def test_a_damaged_list_is_refused_or_names_records_once(tmp_path, times):
    ids = [f"ROIs1158_spring_{scene}_p{patch}" for scene in (7, 63) for patch in range(95, 105)]
    splits, path = Splits("sen12ms", {"spring": ids}, {}, {}), tmp_path / "list.txt"
    for seed in range(times):
        rng = np.random.default_rng(seed)
        path.write_text("\n".join(ids))
        damage.LIST[seed % len(damage.LIST)](path, rng)
        try:
            found = splits.ids(f"list:{path}")
        except InputError as error:
            assert str(path) in str(error)
            continue
        assert set(found) <= set(ids) and len(set(found)) == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_single_flipped_bits_in_all_of_the_tags(tmp_path, name):
    """Two bits, one at a time, of every byte that is not of a compressed stream."""
    spec = datasets.dataset(name)
    for path in WRITERS[name](tmp_path, 5):
        ((item,),) = spec.index([tmp_path]).values()
        wanted, whole = spec.read(item).parts, path.read_bytes()
        for at in np.flatnonzero(~damage.streams(path)):
            for bit in (at % 4, at % 4 + 4):
                data = bytearray(whole)
                data[at] ^= 1 << bit
                path.write_bytes(data)
                try:
                    found = spec.read(item).parts
                except Refused:
                    continue
                for part, values in wanted.items():
                    np.testing.assert_array_equal(found[part], values, err_msg=f"{path.name}: byte {at}, bit {bit}")
        path.write_bytes(whole)
