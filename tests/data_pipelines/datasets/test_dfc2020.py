import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
import rasterio
from downloads import EDGE, parts, path_of, write_geotiff, write_patch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from data_pipelines.datasets import scenes
from data_pipelines.datasets.dfc2020.builder import DFC2020
from data_pipelines.schema import sensors
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Kept, Place, Refused

VALIDATION = "ROIs0000_validation"
real = pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA names no folder of real imagery")


def only_item(root):
    ((item,),) = DFC2020.index([root]).values()
    return item


def test_index_sorts_by_number_and_knows_the_splits(source):
    splits = DFC2020.index([source])
    assert {split: len(items) for split, items in splits.items()} == {"test": 3, "validation": 20}
    assert [item.id for item in splits["validation"]] == [f"{VALIDATION}_0_p{n}" for n in range(20)]
    assert set(splits["test"][0].files) == {"s1", "s2", "label"}


@pytest.mark.parametrize(("scene", "folder"), [("0", "0"), ("0", "validation"), ("validation", "validation")])
def test_index_knows_both_namings_and_leaves_rubbish(tmp_path, scene, folder):
    write_patch(tmp_path / "nested", VALIDATION, 7, scene, folder)
    path = path_of(tmp_path / "nested", VALIDATION, "s1", 7, scene, folder)
    (tmp_path / "__MACOSX").mkdir()
    shutil.copy(path, tmp_path / "__MACOSX" / path.name)
    path.with_name(f"._{path.name}").write_bytes(b"not an image")
    item = only_item(tmp_path)
    assert item.id == f"{VALIDATION}_0_p7"
    assert DFC2020.read(item).parts["label"].shape == (EDGE, EDGE)


def test_index_refuses_two_copies_below_one_folder(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    write_patch(tmp_path, VALIDATION, 1, folder="validation")
    with pytest.raises(InputError, match="the same patch is also in"):
        DFC2020.index([tmp_path])


def test_an_earlier_folder_hides_the_files_of_a_later_one(tmp_path):
    mended, archive = tmp_path / "mended", tmp_path / "archive"
    write_patch(mended, VALIDATION, 1, only=("s2",))
    write_patch(archive, VALIDATION, 1)
    write_patch(archive, VALIDATION, 2)
    first, second = DFC2020.index([mended, archive])["validation"]
    assert {part: path.relative_to(tmp_path).parts[0] for part, path in first.files.items()} == {
        "s1": "archive",
        "s2": "mended",
        "label": "archive",
    }
    assert second.files["s2"].is_relative_to(archive)


def test_index_of_nothing(tmp_path):
    assert DFC2020.index([tmp_path]) == {}
    assert DFC2020.index([]) == {}


MEMBERS = [
    ("ROIs0000_validation_s2_0_p985.tif", True),
    ("ROIs0000_validation_dfc_validation_p0.tif", True),
    ("ROIs0000_test_s1_0_p5127.tif", True),
    ("ROIs0000_test_lc_0_p5127.tif", False),
    ("ROIs1158_spring_s1_0_p1.tif", False),
    ("._ROIs0000_test_s1_0_p5127.tif", False),
    ("ROIs0000_test_s1_0_p5127.tif.aux.xml", False),
]


@pytest.mark.parametrize(("name", "wanted"), MEMBERS)
def test_members_of_archives(name, wanted):
    assert bool(DFC2020.members.fullmatch(name)) == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_gives_integers_in_the_published_order(tmp_path, dtype):
    write_patch(tmp_path, VALIDATION, 5)
    published = parts(5)
    write_geotiff(path_of(tmp_path, VALIDATION, "s1", 5), published["s1"].astype(dtype))
    found = DFC2020.read(only_item(tmp_path))
    assert {key: (value.shape, str(value.dtype)) for key, value in found.parts.items()} == {
        "s1": ((EDGE, EDGE, 2), "int16"),
        "s2": ((EDGE, EDGE, 13), "uint16"),
        "label": ((EDGE, EDGE), "uint8"),
    }
    np.testing.assert_allclose(found.parts["s1"].transpose(2, 0, 1) / 100, published["s1"], atol=0.005001)
    np.testing.assert_array_equal(found.parts["s2"].transpose(2, 0, 1), published["s2"])
    np.testing.assert_array_equal(found.parts["label"], published["dfc"][0])
    assert (found.nodata, found.off_legend, found.counted) == (0, 0, None)
    assert found.place == Place(32632, 500_000 + 5 * EDGE, 5_000_000 - 5 * EDGE)


def test_read_puts_named_bands_in_order(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, "s2", 1)
    write_geotiff(path, parts(1)["s2"][::-1].astype(np.int32), sensors.S2.bands[::-1])
    found = DFC2020.read(only_item(tmp_path))
    np.testing.assert_array_equal(found.parts["s2"].transpose(2, 0, 1), parts(1)["s2"])


def _changed(values, where, value):
    values = values.copy()
    values[where] = value
    return values


BROKEN = {
    "12 bands": ("s2", lambda v: v[:12], {}, "12 bands, expected 13"),
    "float s2": ("s2", lambda v: v.astype(np.float32), {}, "dtype float32, expected uint8 or"),
    "integer s1": ("s1", lambda v: v.astype(np.int16), {}, "dtype int16, expected float32 or float64"),
    "negative": ("s2", lambda v: _changed(v.astype(np.int16), (3, 3, 3), -7), {}, "reflectance from -7 to"),
    "too large": (
        "s2",
        lambda v: _changed(v.astype(np.uint32), (3, 3, 3), 70_000),
        {},
        "to 70000, expected 0 to 65535",
    ),
    "NaN": ("s1", lambda v: _changed(v, (0, 3, 3), np.nan), {}, "1 of 256 pixels are NaN, infinite or nodata"),
    "nodata": ("s1", lambda v: _changed(v, (0, 3), -99), {"nodata": -99}, "16 of 256 pixels are NaN, infinite or no"),
    "zeros": ("s2", lambda v: _changed(v, (slice(None), 3), 0), {}, "16 of 256 pixels are 0 in every band"),
    "smaller": ("s2", lambda v: v[:, :9, :9], {}, "9 x 9 pixels, expected 16 x 16"),
    "oblong": ("s1", lambda v: v[:, :9], {}, "16 x 9 pixels, expected a square"),
    "label": ("dfc", lambda v: _changed(v, (0, 3, 3), 11), {}, "label 11 is not in the legend"),
    "label dtype": ("dfc", lambda v: v.astype(np.float32), {}, "dtype float32, expected uint8"),
    "names": ("s1", lambda v: v, {"names": ("VV", "angle")}, "bands named VV, angle, expected VV, VH"),
    "power": ("s1", lambda v: 10 ** (v / 10), {}, "no value is below 0, as in power or amplitude"),
    "damaged s1": ("s1", lambda v: _changed(v, (0, 3, 3), 1e30), {}, "1 of 512 values are below -100 or above 50"),
    "damaged s2": ("s2", lambda v: _changed(v, slice(0, 2), 45_000), {}, "512 of 3,328 values are above 30000"),
    "offset": ("s2", lambda v: v + 1000, {}, r"B10 \(cirrus\).* offset of \+1000: .* --offset=-1000"),
}


@pytest.mark.parametrize(("part", "change", "how", "reason"), BROKEN.values(), ids=BROKEN)
def test_read_refuses_by_name(tmp_path, part, change, how, reason):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, part, 1)
    write_geotiff(path, change(parts(1)[part]), **how)
    with pytest.raises(Refused, match=reason) as refusal:
        DFC2020.read(only_item(tmp_path))
    assert refusal.value.file == path
    assert pickle.loads(pickle.dumps(refusal.value)).reason == refusal.value.reason


def test_single_bright_targets_are_no_damage(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    bright = _changed(parts(1)["s2"], (slice(0, 9), 3), 65_535)
    write_geotiff(path_of(tmp_path, VALIDATION, "s2", 1), bright)
    found = DFC2020.read(only_item(tmp_path))
    np.testing.assert_array_equal(found.parts["s2"].transpose(2, 0, 1), bright)


@pytest.mark.parametrize("kept", [0, 100, 0.6])
def test_read_refuses_a_truncated_file(tmp_path, kept):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, "s2", 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(Refused) as refusal:
        DFC2020.read(only_item(tmp_path))
    assert refusal.value.file == path and "download it again" in refusal.value.reason


@pytest.mark.parametrize("part", ["s1", "s2", "dfc"])
def test_read_refuses_a_record_without_partner(tmp_path, part):
    write_patch(tmp_path, VALIDATION, 1)
    write_patch(tmp_path, VALIDATION, 2)
    path = path_of(tmp_path, VALIDATION, part, 1)
    path.unlink()
    with pytest.raises(Refused, match="no such file") as refusal:
        DFC2020.read(DFC2020.index([tmp_path])["validation"][0])
    assert refusal.value.file == path


@pytest.mark.parametrize("part", ["s1", "s2", "dfc"])
def test_an_archive_that_was_not_downloaded_is_told_at_once(tmp_path, part):
    for patch in (1, 2):
        write_patch(tmp_path, VALIDATION, patch)
        path_of(tmp_path, VALIDATION, part, patch).unlink()
    with pytest.raises(InputError, match=f"validation: .*0 {part}.*download the missing ones"):
        DFC2020.index([tmp_path])


def test_the_file_whose_size_is_another_than_its_partners_is_named(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, "s1", 1)
    write_geotiff(path, parts(1)["s1"][:, :12, :12])
    with pytest.raises(
        Refused, match=r"12 x 12 pixels, expected 16 x 16 as in ROIs0000_validation_s2_0_p1\.tif"
    ) as refusal:
        DFC2020.read(only_item(tmp_path))
    assert refusal.value.file == path


def test_few_pixels_without_data_are_filled_and_counted(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    published = parts(1)
    radar, optical = _changed(published["s1"], (1, 0, 0), np.nan), _changed(published["s2"], (slice(None), 0, 1), 0)
    write_geotiff(path_of(tmp_path, VALIDATION, "s1", 1), radar)
    write_geotiff(path_of(tmp_path, VALIDATION, "s2", 1), optical)
    found = DFC2020.read(only_item(tmp_path), max_nodata=0.01)
    assert found.nodata == 2 and np.count_nonzero(~found.counted) == 2
    assert not found.counted[0, :2].any() and (found.parts["label"][0, :2] == 255).all()
    np.testing.assert_array_equal(found.parts["label"][1:], published["dfc"][0, 1:])
    mean = radar.reshape(2, -1)[:, 1:].mean(axis=1)
    np.testing.assert_allclose(found.parts["s1"][0, 0] / 100, mean, atol=0.006)
    np.testing.assert_allclose(found.parts["s1"][0, 1] / 100, radar[:, 0, 1], atol=0.006)  # only Sentinel-2 lacks it
    mean = np.delete(optical.reshape(13, -1), 1, axis=1).mean(axis=1)
    np.testing.assert_allclose(found.parts["s2"][0, 1], mean, atol=0.51)


def test_an_offset_is_taken_off_on_demand_only(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    path, published = path_of(tmp_path, VALIDATION, "s2", 1), parts(1)["s2"]
    new = published + 1000
    new[10, 0, 0] = 990  # noise below the offset
    write_geotiff(path, new)
    found = DFC2020.read(only_item(tmp_path), offset=-1000).parts["s2"].transpose(2, 0, 1)
    assert found[10, 0, 0] == 0
    np.testing.assert_array_equal(found.reshape(13, -1)[:, 1:], published.reshape(13, -1)[:, 1:])
    write_geotiff(path, published)
    with pytest.raises(Refused, match=r"after --offset=-1000.*prepare it without --offset"):
        DFC2020.read(only_item(tmp_path), offset=-1000)


def kept(split, places):
    return [Kept(f"ROIs0000_{split}_0_p{n}", place) for n, place in enumerate(places)]


CITIES = [(32614, 7), (32654, 2), (32756, 4), (32640, 8)]  # EPSG code, patches


def records():
    """Cities of patches in a row, those of two cities in turn, and a test split."""
    places = [Place(epsg, 2560.0 * n, 0.0) for n in range(8) for epsg, count in CITIES if n < count]
    return {"validation": kept("validation", places), "test": kept("test", [None, None])}


def test_the_published_protocol_and_one_with_a_part_to_choose_with():
    found = DFC2020.partitions(records())
    ids = [record.id for record in records()["validation"]]
    assert found["reference"].parts == {"train": ids, "test": ["ROIs0000_test_0_p0", "ROIs0000_test_0_p1"]}
    assert "no part to choose a checkpoint with" in found["reference"].warning
    held = [record.id for record in records()["validation"] if record.place.epsg == 32756]  # 4 of 21
    assert found["by_scene"].parts["validation"] == held
    assert found["by_scene"].parts["train"] == [record for record in ids if record not in held]
    assert found["by_scene"].parts["test"] == found["reference"].parts["test"]


def test_groups_are_scenes_of_both_splits():
    """Each city is one scene, and what lies beside it in the other split belongs to it."""
    beside = Kept("ROIs0000_test_0_p0", Place(32756, 2560.0 * 4, 0.0))
    nowhere = Kept("ROIs0000_test_0_p1", None)
    groups = DFC2020.groups({"validation": records()["validation"], "test": [beside, nowhere]})
    scene_of = {epsg: f"scene_{n}" for n, (epsg, _) in enumerate(CITIES, 1)}
    assert groups == {record.id: scene_of[record.place.epsg] for record in [*records()["validation"], beside]}


def test_partitions_that_make_no_sense_are_left_out():
    all_of_them = records()
    assert set(DFC2020.partitions(all_of_them)) == {"reference", "by_scene"}
    untested = DFC2020.partitions({"validation": all_of_them["validation"]})
    assert {name: set(partition.parts) for name, partition in untested.items()} == {"by_scene": {"train", "validation"}}
    assert DFC2020.partitions({"test": all_of_them["test"]}) == {}
    one_scene = kept("validation", [Place(32614, 2560.0 * n, 0.0) for n in range(9)])
    assert set(DFC2020.partitions({**all_of_them, "validation": one_scene})) == {"reference"}
    unknown = [*all_of_them["validation"], Kept("ROIs0000_validation_0_p99", None)]
    assert set(DFC2020.partitions({**all_of_them, "validation": unknown})) == {"reference"}


PLACES = st.lists(
    st.builds(Place, st.sampled_from([32632, 32633]), st.integers(0, 99_000), st.integers(0, 99_000)), max_size=30
)


@given(PLACES)
def test_scenes_are_the_connected_components(places):
    xy = np.array([(place.x, place.y) for place in places]).reshape(-1, 2)
    near = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) < scenes.REACH
    zones = np.array([place.epsg for place in places])
    count, component = connected_components(near & (zones[:, None] == zones[None])) if places else (0, [])
    assert sorted(scenes.group(places)) == sorted(np.flatnonzero(component == c).tolist() for c in range(count))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.sampled_from([0.2, 0.5]))
def test_chosen_scenes_are_as_near_as_any(sizes, share):
    chosen = scenes.choose(sizes, share)
    assert 0 < len(set(chosen)) == len(chosen) < len(sizes)
    sums = [sum(s for i, s in enumerate(sizes) if subset >> i & 1) for subset in range(1, 2 ** len(sizes) - 1)]
    wanted = share * sum(sizes)
    assert abs(sum(sizes[i] for i in chosen) - wanted) == min(abs(count - wanted) for count in sums)


def test_one_scene_cannot_be_parted():
    with pytest.raises(ValueError, match="1 scenes"):
        scenes.choose([5], 0.2)


@real
def test_real_places():
    root = pathlib.Path(os.environ["LCJAX_REAL_DATA"]) / "sentinel_dfc2020"
    items = DFC2020.index([root])["validation"]
    assert [item.id for item in items] == [f"{VALIDATION}_0_p{n}" for n in (0, 1, 3)]
    kinds = [{1, 4, 9, 10}, {4, 6}, {8}]
    for item, ids, epsg in zip(items, kinds, (32722, 32736, 32616), strict=True):
        found = DFC2020.read(item)
        assert set(np.unique(found.parts["label"])) == ids and found.place.epsg == epsg
        for sensor, unit in (("s1", 0.01), ("s2", 1)):
            with rasterio.open(item.files[sensor]) as file:
                np.testing.assert_allclose(found.parts[sensor].transpose(2, 0, 1) * unit, file.read(), atol=0.00501)


@real
@pytest.mark.parametrize(("name", "right", "wrong"), [("282D_485L_3_3", -1000, 0), ("38D_378R_2_3", 0, -1000)])
def test_real_products_with_and_without_the_offset(tmp_path, name, right, wrong):
    root = pathlib.Path(os.environ["LCJAX_REAL_DATA"]) / "scenes"
    for part, folder in (("s1", "S1RTC"), ("s2", "S2L1C"), ("dfc", "LULC")):
        path = path_of(tmp_path, VALIDATION, part, 1)
        path.parent.mkdir(parents=True)
        path.symlink_to(root / folder / f"{name}.tif")
    item = only_item(tmp_path)
    assert np.percentile(DFC2020.read(item, offset=right).parts["s2"][:, :, 10], 1) < 100
    with pytest.raises(Refused, match="B10"):
        DFC2020.read(item, offset=wrong)
