import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
import rasterio
from downloads import EDGE, parts, path_of, write_geotiff, write_patch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.datasets import sentinel_layout
from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.sample.builder import SAMPLE
from data_pipelines.datasets.sen12ms import builder
from data_pipelines.datasets.sen12ms.builder import SEN12MS
from data_pipelines.datasets.sen12ms.legend import DFC2020_8, IGBP, SIMPLIFIED
from data_pipelines.schema.spec import Kept, Refused

SPRING, SUMMER = "ROIs1158_spring", "ROIs1868_summer"
TRIPLET, PAIR = ("s1", "s2", "lc"), ("s1", "s2")
real = pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA names no folder of real imagery")

PATCHES = st.builds(
    sentinel_layout.PatchId,
    st.from_regex(r"[0-9]{4}", fullmatch=True),
    st.sampled_from(["spring", "summer", "fall", "winter", "validation", "test"]),
    st.integers(0, 300),
    st.integers(0, 9999),
)


@given(PATCHES)
def test_an_id_is_its_patch(patch):
    assert sentinel_layout.PatchId.parse(str(patch)) == patch


@pytest.mark.parametrize("text", ["", "ROIs1158_spring_63", "ROIs1158_spring_s1_63_p1", "ROIs1158_spring_63_p1.tif"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError, match="expected for example ROIs1158_spring_63_p100"):
        sentinel_layout.PatchId.parse(text)


@given(st.sets(PATCHES, max_size=8))
@settings(max_examples=25, deadline=None)
def test_files_are_found_by_name_and_in_order(patches):
    with tempfile.TemporaryDirectory() as folder:
        for patch in patches:
            roi = f"ROIs{patch.code}_{patch.season}"
            path = path_of(pathlib.Path(folder), roi, "s2", patch.patch, str(patch.scene))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = sentinel_layout.find([pathlib.Path(folder)], builder.SEN12MS.members)
    wanted = sorted(p for p in patches if p.season in builder.SEASONS)
    assert list(found) == wanted
    assert all(set(files) == {"s2"} for files in found.values())


def test_seasons_are_splits_in_the_order_of_numbers(tmp_path):
    for roi, scene, patch in ((SUMMER, "7", 3), (SPRING, "10", 4), (SPRING, "2", 100), (SPRING, "2", 31)):
        write_patch(tmp_path, roi, patch, scene, only=TRIPLET)
    splits = SEN12MS.index([tmp_path])
    assert list(splits) == ["spring", "summer"]
    assert [item.id.removeprefix(f"{SPRING}_") for item in splits["spring"]] == ["2_p31", "2_p100", "10_p4"]


def test_a_group_is_a_scene_of_a_season(tmp_path):
    for roi, scene in ((SUMMER, "7"), (SPRING, "10")):
        write_patch(tmp_path, roi, 3, scene, only=TRIPLET)
    groups = {split: [item.group for item in items] for split, items in SEN12MS.index([tmp_path]).items()}
    assert groups == {"spring": ["spring_10"], "summer": ["summer_7"]}


def test_the_first_band_of_four_is_the_label(tmp_path):
    write_patch(tmp_path, SPRING, 3, "2", only=TRIPLET)
    (item,) = SEN12MS.index([tmp_path])["spring"]
    found = SEN12MS.read(item)
    np.testing.assert_array_equal(found.parts["label"], parts(3)["lc"][0])
    np.testing.assert_array_equal(found.parts["s2"].transpose(2, 0, 1), parts(3)["s2"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_what_modis_could_not_classify_is_no_label(tmp_path, dtype):
    write_patch(tmp_path, SPRING, 3, "2", only=PAIR)
    cover = parts(3)["lc"].astype(dtype)
    cover[:, 4] = 255
    write_geotiff(path_of(tmp_path, SPRING, "lc", 3, "2"), cover)
    (item,) = SEN12MS.index([tmp_path])["spring"]
    np.testing.assert_array_equal(SEN12MS.read(item).parts["label"], cover[0])


LABELS = {
    "one band": (lambda v: v[:1], "1 bands, expected 4"),
    "id": (lambda v: np.where(v == 5, 18, v).astype(np.uint8), "label 18 is not in the legend igbp"),
    "size": (lambda v: v[:, :9, :9], "9 x 9 pixels, expected 16 x 16"),
}


@pytest.mark.parametrize(("change", "reason"), LABELS.values(), ids=LABELS)
def test_land_cover_is_checked(tmp_path, change, reason):
    write_patch(tmp_path, SPRING, 3, "2", only=PAIR)
    path = path_of(tmp_path, SPRING, "lc", 3, "2")
    write_geotiff(path, change(parts(3)["lc"]))
    (item,) = SEN12MS.index([tmp_path])["spring"]
    with pytest.raises(Refused, match=reason) as refusal:
        SEN12MS.read(item)
    assert refusal.value.file == path


def test_a_season_without_land_cover_holds_pairs(tmp_path):
    write_patch(tmp_path, SPRING, 1, "2", only=PAIR)
    write_patch(tmp_path, SUMMER, 1, "2", only=TRIPLET)
    write_patch(tmp_path, SUMMER, 2, "2", only=PAIR)
    splits = SEN12MS.index([tmp_path])
    label = SEN12MS.read(splits["spring"][0]).parts["label"]
    assert label.shape == (EDGE, EDGE) and (label == 255).all()
    assert (SEN12MS.read(splits["summer"][0]).parts["label"] != 255).all()
    with pytest.raises(Refused, match="no such file, but its partners are there") as refusal:
        SEN12MS.read(splits["summer"][1])
    assert refusal.value.file == path_of(tmp_path, SUMMER, "lc", 2, "2")


@pytest.mark.parametrize(("patch", "known"), [(202, True), (203, False)])
def test_the_known_broken_patch_is_refused_as_such(tmp_path, patch, known):
    write_patch(tmp_path, SUMMER, patch, "146", only=TRIPLET)
    path = path_of(tmp_path, SUMMER, "s1", patch, "146")
    (item,) = SEN12MS.index([tmp_path])["summer"]
    assert SEN12MS.read(item).nodata == 0  # a mended copy is welcome
    write_geotiff(path, np.full((2, EDGE, EDGE), np.nan, np.float32))
    for share in (0.0, 1.0):
        with pytest.raises(Refused, match="256 of 256 pixels are NaN") as refusal:
            SEN12MS.read(item, max_nodata=share)
        assert refusal.value.file == path
        assert ("known fault of the published archive" in refusal.value.reason) == known


def test_the_scenes_that_the_authors_hold_out_are_the_test_part():
    ids = [f"{SPRING}_{scene}_p{n}" for scene in (15, 16, 146) for n in range(3)]
    ids += [f"{SUMMER}_{scene}_p1" for scene in (15, 146)] + ["ROIs2017_winter_146_p1", "ROIs1970_fall_141_p2"]
    records = {season: [] for season in ("winter", "fall", "summer", "spring")}
    for text in ids:
        records[sentinel_layout.PatchId.parse(text).season].append(Kept(text, None))
    official = SEN12MS.partitions(records)["official"].parts
    assert official["train"] == [f"{SPRING}_16_p{n}" for n in range(3)] + [f"{SUMMER}_146_p1"]
    assert sorted((*official["train"], *official["test"])) == sorted(ids)
    assert SEN12MS.partitions({"spring": [Kept(f"{SPRING}_16_p1", None)]}) == {}


def test_there_are_26_of_them():
    assert {season: len(scenes) for season, scenes in builder.HOLD_OUT.items()} == {
        "spring": 6,
        "summer": 7,
        "fall": 8,
        "winter": 5,
    }


def test_legends_that_merge():
    """Against the table of Schmitt and Wu: forests, shrublands, savannas, ..., both kinds of croplands."""
    groups = [(1, 2, 3, 4, 5), (6, 7), (8, 9), (10,), (11,), (12, 14), (13,), (15,), (16,), (17,)]
    for legend in (SIMPLIFIED, DFC2020_8):
        read_as = legend.read_as()
        for simple, members in enumerate(groups, start=1):
            assert (read_as[list(members)] == simple).all()
        assert read_as[0] == 0 and read_as[255] == 255
        assert legend.classes == DFC2020.classes
    assert sorted(i for members in groups for i in members) == [c.id for c in IGBP.scored] == list(range(1, 18))
    assert [c.id for c in SIMPLIFIED.scored] == list(range(1, 11))
    assert DFC2020_8.scored == DFC2020.scored and len(DFC2020_8.scored) == 8
    assert SEN12MS.legends == (IGBP, SIMPLIFIED, DFC2020_8)


def test_the_sample_holds_the_labelled_splits_and_the_pairs(source):
    splits = SAMPLE.index([source])
    assert {split: len(items) for split, items in splits.items()} == {"test": 3, "unlabelled": 4, "validation": 20}
    pair, labelled = splits["unlabelled"][0], splits["validation"][5]
    assert (set(pair.files), pair.id) == ({"s1", "s2"}, f"{SPRING}_2_p30")
    assert (SAMPLE.read(pair).parts["label"] == 255).all()
    np.testing.assert_array_equal(SAMPLE.read(labelled).parts["label"], parts(5)["dfc"][0])
    shutil.rmtree(source / SPRING)
    assert "unlabelled" not in SAMPLE.index([source])


def test_the_land_cover_of_the_sample_is_sen12ms(sample):
    (items,) = SEN12MS.index([sample]).values()
    assert len(items) == 8
    with rasterio.open(sample / SPRING / "lc_1" / f"{SPRING}_lc_1_p7.tif") as file:
        np.testing.assert_array_equal(SEN12MS.read(items[7]).parts["label"], file.read(1))


@real
@pytest.mark.parametrize(("patch", "ids"), [(0, {5, 10, 16, 17}), (1, {10, 12}), (3, {15})])
def test_real_places(tmp_path, patch, ids):
    """Under names of SEN12MS: triplets as in its archives."""
    root = pathlib.Path(os.environ["LCJAX_REAL_DATA"]) / "sentinel_dfc2020"
    for part in TRIPLET:
        path = path_of(tmp_path, SPRING, part, patch, "3")
        path.parent.mkdir(parents=True)
        path.symlink_to(path_of(root, "ROIs0000_validation", part, patch))
    (item,) = SEN12MS.index([tmp_path])["spring"]
    label = SEN12MS.read(item).parts["label"]
    assert set(np.unique(label)) == ids
    with rasterio.open(item.files["label"]) as file:
        np.testing.assert_array_equal(label, file.read(1))
