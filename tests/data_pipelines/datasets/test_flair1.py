import json
import math
import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine

from data_pipelines.datasets.flair1 import builder, metadata, partitions
from data_pipelines.datasets.flair1.builder import FLAIR1
from data_pipelines.datasets.sample import make
from data_pipelines.prepare import archives
from data_pipelines.schema import sensors
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Item, Kept, Place, Record, Refused

EDGE = 32
DOMAIN, ZONE, NUMBER = "D004_2021", "Z10_AU", 826
ID = "D004_2021/Z10_AU/IMG_000826"
# IGN's files: metres, and no name of the projection.
LOCAL = rasterio.crs.CRS.from_wkt('LOCAL_CS["unnamed",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]')
ENTRY = {
    "domain": DOMAIN,
    "zone": ZONE,
    "patch_centroid_x": 953051.2,
    "patch_centroid_y": 6345948.8,
    "patch_centroid_z": 280.5,
    "date": "2021-06-14",
    "time": "08h06",
    "camera": "UCE-M3-f100-s04",
}


def image(number: int = NUMBER) -> np.ndarray:
    """(5, EDGE, EDGE) uint8: smooth, and another one for every number."""
    rows, columns = np.mgrid[:EDGE, :EDGE]
    return np.stack([(40 * band + number % 40 + rows + columns) % 256 for band in range(5)]).astype(np.uint8)


def mask(number: int = NUMBER) -> np.ndarray:
    return (np.arange(EDGE * EDGE).reshape(1, EDGE, EDGE) % 19 + number % 2).clip(1, 19).astype(np.uint8)


def write(path: pathlib.Path, values: np.ndarray, crs=LOCAL, corner=(953_000.0, 6_346_000.0), names=(), nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": crs, "transform": Affine(0.2, 0, corner[0], 0, -0.2, corner[1]), "nodata": nodata}
    with rasterio.open(path, "w", **profile, **place) as raster:
        raster.write(values)
        raster.descriptions = names or (None,) * count
    return path


_TOY = "flair_1_toy_dataset/train/flair_1_toy_"
_TREES = {
    "train": ("flair_aerial_train", "flair_labels_train"),
    "test": ("flair_1_aerial_test", "flair_1_labels_test"),
    "toy": (f"{_TOY}aerial_train", f"{_TOY}labels_train"),
}


def zips(root: pathlib.Path, domain: str = DOMAIN, zone: str = ZONE, number: int = NUMBER, tree: str = "train"):
    """The paths of image and mask in the tree of IGN's zips."""
    images, masks = {
        "train": ("flair_aerial_train", "flair_labels_train"),
        "test": ("flair_1_aerial_test", "flair_1_labels_test"),
        "toy": (
            "flair_1_toy_dataset/train/flair_1_toy_aerial_train",
            "flair_1_toy_dataset/train/flair_1_toy_labels_train",
        ),
    }[tree]
    return (
        root / images / domain / zone / "img" / f"IMG_{number:06d}.tif",
        root / masks / domain / zone / "msk" / f"MSK_{number:06d}.tif",
    )


def hugging_face(root: pathlib.Path, domain: str = DOMAIN, zone: str = ZONE, number: int = NUMBER, tree="train-val"):
    """The same for a zip of the release on Hugging Face, unpacked into a folder that has its name."""
    folder = root / "data" / tree / domain
    return folder / "aerial" / zone / f"IMG_{number:06d}.tif", folder / "labels" / zone / f"MSK_{number:06d}.tif"


def write_patch(paths: tuple[pathlib.Path, pathlib.Path]) -> None:
    number = int(paths[0].stem[4:])
    write(paths[0], image(number))
    write(paths[1], mask(number))


def with_metadata(patch, text: str, name: str = "flair-1_metadata_aerial.json") -> pathlib.Path:
    path = root_of(patch) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def patch(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    paths = zips(tmp_path / "source")
    write_patch(paths)
    return paths


def root_of(patch: tuple[pathlib.Path, pathlib.Path]) -> pathlib.Path:
    return patch[0].parents[4]


def read_only(patch: tuple[pathlib.Path, pathlib.Path]) -> Record:
    return builder.read(only_item(root_of(patch)))


def only_item(root: pathlib.Path) -> Item:
    (items,) = builder.index([root]).values()
    (item,) = items
    return item


def test_sample_is_in_the_published_layout(tmp_path, monkeypatch):
    only_flair = {"validation": 0, "test": 0, "unlabelled": 0, "flair": 1, "scene": 64}
    monkeypatch.setitem(make.SIZES, "flair", only_flair)
    make.make(tmp_path, tiles="flair", workers=1)
    splits = builder.index([tmp_path])
    assert {split: [item.id for item in items] for split, items in splits.items()} == {
        "train": ["D038_2021/Z7_FN/IMG_019204", "D052_2019/Z3_AU/IMG_026301"],
        "validation": [ID],
        "test": ["D012_2019/Z5_UN/IMG_061712"],
    }
    record = builder.read(splits["validation"][0])
    assert {name: (part.shape, part.dtype.name) for name, part in record.parts.items()} == {
        "aerial": ((512, 512, 5), "uint8"),
        "label": ((512, 512), "uint8"),
        "metadata": ((8,), "float64"),
    }
    x, y, z, camera, *moment = record.parts["metadata"]
    assert (camera, *moment) == (0, 2021, 6, 14, 8 * 60 + 6)
    assert z == 280.0
    # The same place from two sources: the table, and the corner and pixel size of the file.
    assert record.place == Place(2154, pytest.approx(x, abs=0.06), pytest.approx(y, abs=0.06))
    image, mask = zips(tmp_path)
    with rasterio.open(image) as raster:
        np.testing.assert_array_equal(record.parts["aerial"], np.moveaxis(raster.read(), 0, -1))
    with rasterio.open(mask) as raster:
        np.testing.assert_array_equal(record.parts["label"], raster.read(1))


@pytest.mark.parametrize("layout", [zips, hugging_face])
def test_both_releases_hold_the_same(tmp_path, layout):
    write_patch(layout(tmp_path))
    image_path, _ = layout(tmp_path)
    for rubbish in (image_path.with_name(f"._{image_path.name}"), tmp_path / "__MACOSX" / image_path.name):
        rubbish.parent.mkdir(exist_ok=True)
        rubbish.write_bytes(b"not an image")
    item = only_item(tmp_path)
    assert item.id == ID
    record = builder.read(item)
    np.testing.assert_array_equal(record.parts["aerial"].transpose(2, 0, 1), image())
    np.testing.assert_array_equal(record.parts["label"], mask()[0])
    assert np.isnan(record.parts["metadata"]).all()
    assert record.place == Place(2154, 953_003.2, 6_345_996.8)
    assert (record.nodata, record.counted) == (0, None)


def test_archives_of_both_releases_hold_the_same(tmp_path):
    """As they are downloaded: a zip of a tree with its own name, and a zip of a domain without it."""
    patches = (DOMAIN, ZONE, NUMBER), ("D071_2020", "Z2_UA", 70_000)
    table = json.dumps({f"IMG_{number:06d}": ENTRY for _, _, number in patches})
    trees, domains, source = tmp_path / "trees", tmp_path / "domains", tmp_path / "source"
    for domain, zone, number in patches:
        write_patch(zips(trees, domain, zone, number))
        write_patch(hugging_face(domains, domain, zone, number))
    with_metadata(zips(tmp_path / "table"), table)
    for folder in trees.iterdir():
        shutil.make_archive(source / "zips" / folder.name, "zip", trees, folder.name)
    shutil.make_archive(source / "zips" / "flair-1_metadata_aerial", "zip", tmp_path / "table")
    for folder in domains.glob("data/*/*"):
        shutil.make_archive(source / "hugging_face" / "data" / folder.name, "zip", folder)
    with_metadata(zips(source / "hugging_face"), table, "flair_aerial_metadata.json")

    records = {}
    for release in ("zips", "hugging_face"):
        folders = [source / release, tmp_path / "unpacked" / release]
        assert archives.unpack(*folders, FLAIR1.members) == []
        found = builder.index(folders)
        assert {split: len(items) for split, items in found.items()} == {"validation": 1, "test": 1}
        records[release] = {item.id: builder.read(item).parts for items in found.values() for item in items}
    for record_id, parts in records["zips"].items():
        for name, part in parts.items():
            np.testing.assert_array_equal(part, records["hugging_face"][record_id][name])
        assert parts["metadata"][2] == 280.5


def test_toy_set_and_folders_with_the_name_of_a_zip(tmp_path):
    write_patch(zips(tmp_path, tree="toy"))
    write_patch(hugging_face(tmp_path / "unpacked", "D071_2020.zip", "Z2_UU", 70_000))
    assert {split: [i.id for i in items] for split, items in builder.index([tmp_path]).items()} == {
        "validation": [ID],
        "test": ["D071_2020/Z2_UU/IMG_070000"],
    }


def test_order_is_by_number_and_one_folder_may_be_the_source(tmp_path):
    for zone, number in (("Z10_AU", 3), ("Z2_UU", 12), ("Z2_UU", 7)):
        write_patch(zips(tmp_path / DOMAIN, zone=zone, number=number))
    ids = ["D004_2021/Z2_UU/IMG_000007", "D004_2021/Z2_UU/IMG_000012", "D004_2021/Z10_AU/IMG_000003"]
    assert [item.id for item in builder.index([tmp_path])["validation"]] == ids
    flat = tmp_path / "D071_2020 Z1_UU" / "D004_2021" / "Z10_AU"  # the innermost folders count
    write_patch((flat / "IMG_000003.tif", flat / "MSK_000003.tif"))
    assert only_item(flat).id == ids[2]


def test_areas_of_flair_2_are_other(tmp_path):
    """The release on Hugging Face holds two test sets, with five domains in both."""
    write_patch(hugging_face(tmp_path, "D022_2021", "Z1_UU", 63_463, "flair#1-test"))
    write_patch(hugging_face(tmp_path, "D022_2021", "Z1_AA", 77_413, "flair#2-test"))
    write_patch(hugging_face(tmp_path, "D084_2021", "Z1_AA", 93_000, "flair#2-test"))
    assert {split: [i.id for i in items] for split, items in builder.index([tmp_path]).items()} == {
        "test": ["D022_2021/Z1_UU/IMG_063463"],
        "other": ["D022_2021/Z1_AA/IMG_077413", "D084_2021/Z1_AA/IMG_093000"],
    }


def test_index_of_nothing(tmp_path):
    assert builder.index([tmp_path, tmp_path / "not there"]) == {}


def test_earlier_folders_hide_later_ones(tmp_path, patch):
    root = tmp_path / "source"
    later = tmp_path / "unpacked"
    write_patch(zips(later))
    write_patch(zips(later, number=827))
    splits = builder.index([root, later])
    assert [item.files["aerial"].is_relative_to(root) for item in splits["validation"]] == [True, False]


def test_index_refuses_two_copies_in_one_folder(tmp_path, patch):
    shutil.copytree(tmp_path / "source", tmp_path / "source" / "copy")
    with pytest.raises(InputError, match=r"the same patch is also in .* move one of the two folders out of --source"):
        builder.index([tmp_path / "source"])


@pytest.mark.parametrize("layout", [zips, hugging_face])
@pytest.mark.parametrize("gone", [0, 1])
def test_patch_without_its_partner_is_refused_by_name(tmp_path, layout, gone):
    root = tmp_path / "aerial imagery"  # words of the user's own folders stay as they are
    paths = layout(root)
    write_patch(paths)
    paths[gone].unlink()
    item = only_item(root)
    assert item.id == ID
    with pytest.raises(Refused) as refusal:
        builder.read(item)
    assert (refusal.value.file, refusal.value.reason) == (paths[gone], "no such file, but its partner is there")


@pytest.mark.parametrize("folders", ["img", "D004_2021/img", "Z10_AU/img"])
def test_patch_without_domain_or_zone_is_refused_by_name(tmp_path, folders):
    path = write(tmp_path / folders / "IMG_000826.tif", image())
    item = only_item(tmp_path)
    assert item.id.endswith("IMG_000826")
    assert item.refused.file == path
    assert "no domain and zone in its folders, expected some such as D004_2021/Z10_AU" in item.refused.reason


def test_a_stray_patch_is_counted_with_the_others(tmp_path, patch):
    """It must not make a split of its own, of which nothing would be left."""
    write(tmp_path / "source" / "IMG_000007.tif", image())
    splits = builder.index([tmp_path / "source"])
    (items,) = splits.values()
    assert [bool(item.refused) for item in items] == [False, True]


def test_named_bands_are_put_in_order(patch):
    order = [4, 3, 0, 2, 1]
    write(patch[0], image()[order], names=[sensors.AERIAL.bands[i] for i in order])
    record = read_only(patch)
    np.testing.assert_array_equal(record.parts["aerial"].transpose(2, 0, 1), image())
    assert record.parts["aerial"].flags.c_contiguous


def test_the_crs_of_files_that_have_one_is_kept(patch):
    for path, values in zip(patch, (image(), mask()), strict=True):
        write(path, values, crs="EPSG:32631", corner=(600_000.0, 4_900_000.0))
    assert read_only(patch).place == Place(32631, 600_003.2, 4_899_996.8)
    extent = read_only(patch).extent
    assert extent.crs == "EPSG:32631"
    np.testing.assert_allclose(extent.bounds, (600_000, 4_899_993.6, 600_006.4, 4_900_000), rtol=1e-12)
    for path, values in zip(patch, (image(), mask()), strict=True):
        write(path, values, corner=(0.0, 0.0))
    assert read_only(patch).place is None
    assert read_only(patch).extent.crs.startswith('LOCAL_CS["unnamed"')  # it is what the file says


def test_files_without_a_crs_lie_in_lambert_93(patch):
    extent = read_only(patch).extent
    assert extent.crs == "EPSG:2154"
    np.testing.assert_allclose(extent.bounds, (953_000, 6_345_993.6, 953_006.4, 6_346_000), rtol=1e-12)


def test_a_group_is_a_zone_of_a_domain(patch):
    assert only_item(root_of(patch)).group == f"{DOMAIN}/{ZONE}"


def _changed(values: np.ndarray, where, value: int) -> np.ndarray:
    values = values.copy()
    values[where] = value
    return values


BROKEN = {
    "bands": (0, lambda: image()[:3], "3 bands, expected 5"),
    "dtype": (0, lambda: image().astype(np.uint16), "dtype uint16, expected uint8"),
    "oblong": (0, lambda: image()[:, :16], "32 x 16 pixels, expected a square"),
    "size": (1, lambda: mask()[:, :16, :16], "16 x 16 pixels, expected 32 x 32 as in IMG_000826.tif"),
    "label 0": (1, lambda: _changed(mask(), (0, 3, 4), 0), "label 0 is not in the legend flair1"),
    "label 20": (1, lambda: _changed(mask(), (0, 3, 4), 20), "label 20 is not in the legend flair1"),
    "names": (
        0,
        lambda: (image(), ("R", "G", "B", "NIR", "SWIR")),
        "bands named R, G, B, NIR, SWIR, expected R, G, B,",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_read_refuses(patch, fault):
    which, broken, reason = BROKEN[fault]
    values = broken()
    values, names = values if isinstance(values, tuple) else (values, ())
    write(patch[which], values, names=names)
    with pytest.raises(Refused) as refusal:
        read_only(patch)
    assert refusal.value.file == patch[which]
    assert reason in refusal.value.reason


def test_pixels_without_data_are_filled_and_not_labelled(patch):
    values = image().astype(np.uint8)
    values[:, :2] = 255
    write(patch[0], values, nodata=255)
    item = only_item(root_of(patch))
    with pytest.raises(Refused, match="64 of 1,024 pixels are NaN, infinite or nodata"):
        builder.read(item)
    record = builder.read(item, max_nodata=0.1)
    assert record.nodata == 64
    assert (record.parts["label"][:2] == 255).all()
    np.testing.assert_array_equal(record.parts["label"][2:], mask()[0, 2:])
    np.testing.assert_array_equal(record.parts["aerial"][0, 0], np.rint(image()[:, 2:].mean((1, 2))))
    np.testing.assert_array_equal(record.counted, record.parts["label"] != 255)


# Metadata


@pytest.mark.parametrize("name", ["flair-1_metadata_aerial.json", "aux-data/flair_aerial_metadata.json"])
def test_metadata_of_either_release(patch, name):
    with_metadata(patch, json.dumps({"IMG_000826": ENTRY}), name)
    (found,) = [vector for vector in FLAIR1.vectors if vector.name == "metadata"]
    numbers = dict(zip(found.numbers, read_only(patch).parts["metadata"], strict=True))
    assert numbers == {
        "x": 953051.2,
        "y": 6345948.8,
        "z": 280.5,
        "camera": 0,
        "year": 2021,
        "month": 6,
        "day": 14,
        "minute": 486,
    }


def test_other_cameras_and_images_without_an_entry(patch):
    assert metadata.numbers(ENTRY | {"camera": "CAMERA#030"})[3] == 1
    with_metadata(patch, json.dumps({"IMG_000827": ENTRY}))
    assert np.isnan(read_only(patch).parts["metadata"]).all()


_TABLE = 'expected an object {"IMG_000826": {...}, ...}, the metadata of FLAIR images; download it again'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"IMG_000826": {"patch', "damaged or cut short: download it again, or move it out of --source"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", _TABLE),
        ('{"type": "FeatureCollection"}', _TABLE),
    ],
)
def test_damaged_metadata_is_named(patch, text, message):
    path = with_metadata(patch, text)
    with pytest.raises(InputError) as error:
        builder.index([root_of(patch)])
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"date": "14/06/2021"}, "date '14/06/2021', expected one such as '2021-06-14'"),
        ({"time": "25h00"}, "time '25h00', expected one such as '08h06'"),
        ({"time": None}, "time None, expected"),
        ({"patch_centroid_z": "high"}, "patch_centroid_z 'high', expected a number of metres"),
        ({"patch_centroid_y": 10**400}, "patch_centroid_y 1000"),
        ({"patch_centroid_x": math.nan}, "patch_centroid_x nan, expected a number of metres"),
    ],
)
def test_an_entry_that_cannot_be_understood_refuses_its_patch(patch, change, reason):
    write_patch(zips(root_of(patch), number=827))
    path = with_metadata(patch, json.dumps({"IMG_000826": ENTRY | change, "IMG_000827": ENTRY}))
    bad, good = builder.index([root_of(patch)])["validation"]
    assert good.refused is None
    assert bad.refused.file == path
    assert bad.refused.reason.startswith(f"IMG_000826: {reason}")


def test_an_incomplete_entry_says_what_is_missing(patch):
    with pytest.raises(ValueError, match="no camera, time, expected all of patch_centroid_x"):
        metadata.numbers({key: value for key, value in ENTRY.items() if key not in ("camera", "time")})
    with pytest.raises(ValueError, match="found 'x', expected an object"):
        metadata.numbers("x")


def test_encoding_is_the_baselines():
    """Against its formulas, number by number; the month as they mean it."""
    # Another camera, 14 April 2019, 6 o'clock.
    encoded = metadata.encode((953051.2, 6345948.8, 280.5, 1, 2019, 4, 14, 360))
    expected = []
    for metres in (953051.2, 6345948.8):
        for k in range(8):
            angle = metres / 1e8 * (1 / (1e8 ** (2 * k / 16)))
            expected += [math.sin(angle), math.cos(angle)]
    expected += [280.5 / 3164.9099121094, 0, 1, 0, 1, 0, 0]
    # January to April is a quarter of the year, midnight to 6 o'clock a quarter of the day.
    expected += [1, 0.5, (1 + math.sin(2 * math.pi * 14 / 31)) / 2, (1 + math.cos(2 * math.pi * 14 / 31)) / 2, 1, 0.5]
    assert (encoded.shape, encoded.dtype) == ((45,), np.float32)
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


def test_encoding_of_what_is_not_known():
    assert np.isnan(metadata.encode(metadata.UNKNOWN)).all()
    encoded = metadata.encode((953051.2, 6345948.8, 280.5, math.nan, 2022.0, 4.0, 14.0, 360.0))
    assert list(np.flatnonzero(np.isnan(encoded))) == [33, 34]
    assert (encoded[35:39] == 0).all()


@given(month=st.integers(1, 12), other=st.integers(1, 12))
def test_months_are_told_apart(month, other):
    first, second = (metadata.encode((*metadata.UNKNOWN[:5], m, 1.0, 0.0))[39:41] for m in (month, other))
    assert (month == other) == np.allclose(first, second)


# Splits and partitions


def kept(zones: dict[tuple[str, str], int]) -> dict[str, list[Kept]]:
    """Records by split, of zones with so many patches."""
    records: dict[str, list[Kept]] = {}
    for (domain, zone), count in zones.items():
        ids = [f"{domain}/{zone}/IMG_{number:06d}" for number in range(count)]
        records.setdefault(partitions.split_of(domain, 0), []).extend(Kept(i, None) for i in ids)
    return records


# Zones of D071_2020 as in the published list; of D034_2021, 800 patches, the sizes of zones elsewhere.
SUBSET = {("D071_2020", f"Z{n}_UA"): 100 for n in range(1, 19)} | {("D034_2021", f"Z{n}_AA"): 100 for n in range(1, 9)}


def zones_of(ids) -> set[str]:
    return {record_id.rpartition("/")[0] for record_id in ids}


def test_official_domains():
    assert {split: len(domains) for split, domains in partitions.OFFICIAL.items()} == {
        "train": 32,
        "validation": 8,
        "test": 10,
    }
    assert len({domain for domains in partitions.OFFICIAL.values() for domain in domains}) == 50
    assert partitions.split_of("D070_2020", 1) == "validation"
    assert partitions.split_of("D077_2021", 1) == "train"
    assert [partitions.split_of("D071_2020", number) for number in (77_412, 77_413)] == ["test", "other"]
    assert partitions.split_of("D015_2020", 1) == "other"


def test_baseline_lists_swap_two_domains():
    zones = {(d, "Z1_UU"): 2 for d in ("D006_2020", "D070_2020", "D077_2021", "D012_2019", "D015_2020")}
    found = partitions.partitions(kept(zones))
    assert set(found) == {"baseline_lists"}
    assert {part: sorted({i.split("/")[0] for i in ids}) for part, ids in found["baseline_lists"].parts.items()} == {
        "train": ["D006_2020", "D070_2020"],
        "validation": ["D077_2021"],
        "test": ["D012_2019"],
    }


def test_the_reports_subset_has_the_reports_counts():
    """2,600 patches; 1,664 / 416 / 520 is what its code made of them."""
    found = partitions.partitions(kept(SUBSET | {("D006_2020", "Z1_UU"): 50}))
    assert {name: tuple(map(len, partition.parts.values())) for name, partition in found.items()} == {
        "report_60_20_20": (1560, 520, 520),
        "report_64_16_20": (1664, 416, 520),
        "report_by_zone": (1600, 500, 500),
    }
    for name in ("report_60_20_20", "report_64_16_20"):
        assert [len(zones_of(ids)) for ids in found[name].parts.values()] == [26, 26, 26]
        assert "patches of one zone fall on both sides, so neighbours leak" in found[name].warning
        assert "D071_2020 is an official test domain" in found[name].warning
    assert found["report_by_zone"].warning.startswith("D071_2020 is an official test domain")
    for ids in found["report_by_zone"].parts.values():
        assert {record_id.split("/")[0] for record_id in ids} == {"D034_2021", "D071_2020"}


def test_random_parts_are_of_the_published_seed():
    """By the rule in words: test is the beginning of numpy's permutation 42 of the sorted ids, then validation."""
    ids = np.array(sorted(kept_one.id for some in kept(SUBSET).values() for kept_one in some))
    order = np.random.default_rng(42).permutation(2600)
    found = partitions.partitions(kept(SUBSET))
    for name, end in (("report_60_20_20", 1040), ("report_64_16_20", 936)):
        assert set(found[name].parts["test"]) == set(ids[order[:520]])
        assert set(found[name].parts["validation"]) == set(ids[order[520:end]])


def test_whole_zones_come_near_to_the_shares():
    """As far as small zones, which come last, can mend what large ones did: 1,000 patches in zones of 25 to 225."""
    sizes = (25, 25, 225, 100, 50, 150, 25, 75, 200, 50, 25, 50)
    zones = {(("D034_2021", "D071_2020")[n % 2], f"Z{n}_UU"): size for n, size in enumerate(sizes)}
    parts = partitions.partitions(kept(zones))["report_by_zone"].parts
    assert {part: len(ids) for part, ids in parts.items()} == {"train": 600, "validation": 200, "test": 200}


def test_partitions_whose_domains_are_not_there_are_left_out():
    assert partitions.partitions({}) == {}
    assert partitions.partitions(kept({("D071_2020", "Z1_UA"): 20})) == {}
    assert partitions.partitions(kept({("D071_2020", "Z1_UA"): 20, ("D034_2021", "Z1_UA"): 20})).keys() == {
        "report_60_20_20",
        "report_64_16_20",
    }
    # FLAIR-2's areas of the same domain are no part of the report's.
    flair_2 = {"other": [Kept("D071_2020/Z9_UA/IMG_077500", None)], **kept({("D034_2021", "Z1_UA"): 20})}
    assert partitions.partitions(flair_2) == {}


_ZONES = st.dictionaries(
    st.tuples(
        st.sampled_from(("D034_2021", "D071_2020", "D006_2020", "D070_2020", "D077_2021", "D012_2019", "D084_2021")),
        st.integers(1, 20).map("Z{}_UU".format),
    ),
    st.integers(1, 9),
    max_size=25,
)


@settings(deadline=None)
@given(zones=_ZONES, data=st.data())
def test_partitions_are_partitions(zones, data):
    records = kept(zones)
    found = partitions.partitions(records)
    official = {k.id for split, some in records.items() if split != "other" for k in some}
    subset = {i for i in official if i.split("/")[0] in ("D034_2021", "D071_2020")}
    for name, partition in found.items():
        ids = [i for part in partition.parts.values() for i in part]
        assert len(ids) == len(set(ids))
        assert set(ids) == (official if name == "baseline_lists" else subset)
        assert set(partition.parts) == {"train", "validation", "test"}
        assert all(partition.parts.values())
    if "report_by_zone" in found:
        sides = [zones_of(ids) for ids in found["report_by_zone"].parts.values()]
        assert sum(map(len, sides)) == len(set().union(*sides))
        largest = max(count for (domain, _), count in zones.items() if domain in ("D034_2021", "D071_2020"))
        for part, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            assert abs(len(found["report_by_zone"].parts[part]) - share * len(subset)) <= 2 * largest
    # The order in which records were prepared is of no account.
    mixed = {split: data.draw(st.permutations(some)) for split, some in records.items()}
    assert partitions.partitions(mixed) == found


# The description


def test_description_survives_pickling_and_knows_its_members():
    assert pickle.loads(pickle.dumps(FLAIR1)).index is builder.index
    named = ["IMG_000826.tif", "MSK_000826.tif", "flair-1_metadata_aerial.json", "flair_aerial_metadata.json"]
    others = ["SEN2_sp_D004_2021-Z10_AU_data.npy", "._IMG_000826.tif", "IMG_826.tif", "IMG_000826.tif.aux.xml"]
    assert [bool(FLAIR1.members.fullmatch(name)) for name in named + others] == [True] * 4 + [False] * 4
    assert [len(legend.scored) for legend in FLAIR1.legends] == [19, 13, 12, 15]


@pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA does not name a folder")
def test_real_mask(patch):
    """The one published mask at hand, as PNG: ids 1 to 13."""
    from PIL import Image

    path = pathlib.Path(os.environ["LCJAX_REAL_DATA"]) / "flair_rgb" / "MSK_sample.png"
    published = np.array(Image.open(path))
    write(patch[0], np.tile(image(), (1, 16, 16)))
    write(patch[1], published[None])
    label = read_only(patch).parts["label"]
    np.testing.assert_array_equal(label, published)
    assert set(np.unique(label)) <= {land_class.id for land_class in FLAIR1.legend.classes}
    read_as_13 = FLAIR1.legends[1].read_as()[label]
    assert read_as_13.max() <= 13
