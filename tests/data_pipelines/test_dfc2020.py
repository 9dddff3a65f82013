import pickle
import shutil

import numpy as np
import pytest
from published import EDGE, parts, path_of, write_geotiff, write_patch

from data_pipelines import bands
from data_pipelines.dfc2020 import builder
from data_pipelines.errors import InputError
from data_pipelines.spec import Refused

VALIDATION = "ROIs0000_validation"


def test_index_sorts_by_number_and_knows_the_splits(source):
    splits = builder.index(source)
    assert {split: len(items) for split, items in splits.items()} == {"test": 3, "unlabelled": 4, "validation": 20}
    assert [item.id for item in splits["validation"]][:3] == [f"{VALIDATION}_0_p{n}" for n in range(3)]
    assert [item.id.removeprefix("ROIs1158_spring_") for item in splits["unlabelled"]] == [
        "2_p30",
        "2_p31",
        "2_p100",
        "10_p4",
    ]
    assert set(splits["unlabelled"][0].files) == {"s1", "s2"}


@pytest.mark.parametrize(("scene", "folder"), [("0", "0"), ("0", "validation"), ("validation", "validation")])
def test_index_knows_both_namings_and_leaves_rubbish(tmp_path, scene, folder):
    write_patch(tmp_path / "nested", VALIDATION, 7, scene, folder)
    path = path_of(tmp_path / "nested", VALIDATION, "s1", 7, scene, folder)
    (tmp_path / "__MACOSX").mkdir()
    shutil.copy(path, tmp_path / "__MACOSX" / path.name)
    path.with_name(f"._{path.name}").write_bytes(b"not an image")
    (item,) = builder.index(tmp_path)["validation"]
    assert item.id == f"{VALIDATION}_0_p7"
    assert builder.read(item).parts["label"].shape == (EDGE, EDGE)


def test_index_refuses_two_copies(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    write_patch(tmp_path, VALIDATION, 1, folder="validation")
    with pytest.raises(InputError, match="the same patch is also in"):
        builder.index(tmp_path)


def test_index_of_nothing(tmp_path):
    assert builder.index(tmp_path) == {}


def test_read_gives_integers_in_the_published_order(source):
    splits = builder.index(source)
    record, published = builder.read(splits["validation"][5]).parts, parts(5)
    assert {key: (value.shape, str(value.dtype)) for key, value in record.items()} == {
        "s1": ((EDGE, EDGE, 2), "int16"),
        "s2": ((EDGE, EDGE, 13), "uint16"),
        "label": ((EDGE, EDGE), "uint8"),
    }
    np.testing.assert_allclose(record["s1"].transpose(2, 0, 1) / 100, published["s1"], atol=0.005001)
    np.testing.assert_array_equal(record["s2"].transpose(2, 0, 1), published["s2"])
    np.testing.assert_array_equal(record["label"], published["dfc"][0])
    assert (builder.read(splits["unlabelled"][0]).parts["label"] == 255).all()


def test_read_puts_named_bands_in_order(tmp_path):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, "s2", 1)
    write_geotiff(path, parts(1)["s2"][::-1].astype(np.int32), bands.S2.bands[::-1])
    (item,) = builder.index(tmp_path)["validation"]
    np.testing.assert_array_equal(builder.read(item).parts["s2"].transpose(2, 0, 1), parts(1)["s2"])


def _changed(values, where, value):
    values = values.copy()
    values[where] = value
    return values


BROKEN = {
    "12 bands": ("s2", lambda v: v[:12], {}, "12 bands, expected 13"),
    "float s2": ("s2", lambda v: v.astype(np.float32), {}, "dtype float32, expected uint8 or"),
    "integer s1": ("s1", lambda v: v.astype(np.int16), {}, "dtype int16, expected float32 or float64"),
    "negative": ("s2", lambda v: _changed(v.astype(np.int16), (3, 3, 3), -7), {}, "reflectance from -7 to"),
    "NaN": ("s1", lambda v: _changed(v, (0, 3, 3), np.nan), {}, "1 values are NaN or infinite"),
    "nodata": ("s1", lambda v: _changed(v, (0, 3), -99), {"nodata": -99}, "16 values are nodata"),
    "smaller": ("s2", lambda v: v[:, :9, :9], {}, "9 pixels wide, expected 16"),
    "oblong": ("s1", lambda v: v[:, :9], {}, "16 x 9 pixels, expected a square"),
    "label": ("dfc", lambda v: _changed(v, (0, 3, 3), 11), {}, "label 11 is not in the legend"),
    "label dtype": ("dfc", lambda v: v.astype(np.uint16), {}, "dtype uint16, expected uint8"),
    "names": ("s1", lambda v: v, {"names": ("VV", "angle")}, "bands named VV, angle, expected VV, VH"),
}


@pytest.mark.parametrize(("part", "change", "how", "reason"), BROKEN.values(), ids=BROKEN)
def test_read_refuses_by_name(tmp_path, part, change, how, reason):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, part, 1)
    write_geotiff(path, change(parts(1)[part]), **how)
    (item,) = builder.index(tmp_path)["validation"]
    with pytest.raises(Refused, match=reason) as refusal:
        builder.read(item)
    assert refusal.value.file == path
    assert pickle.loads(pickle.dumps(refusal.value)).reason == refusal.value.reason


@pytest.mark.parametrize("kept", [0, 100, 0.6])
def test_read_refuses_a_truncated_file(tmp_path, kept):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, "s2", 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    (item,) = builder.index(tmp_path)["validation"]
    with pytest.raises(Refused, match="cannot be read as GeoTIFF"):
        builder.read(item)


@pytest.mark.parametrize("part", ["s1", "s2", "dfc"])
def test_read_refuses_a_record_without_partner(tmp_path, part):
    write_patch(tmp_path, VALIDATION, 1)
    path = path_of(tmp_path, VALIDATION, part, 1)
    path.unlink()
    (item,) = builder.index(tmp_path)["validation"]
    with pytest.raises(Refused, match="no such file") as refusal:
        builder.read(item)
    assert refusal.value.file == path
