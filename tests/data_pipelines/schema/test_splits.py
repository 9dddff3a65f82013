import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.splits import Splits

TRAIN = [f"ROIs1158_spring_{scene}_p{patch}" for scene in (3, 11) for patch in range(6)]
TEST = [f"D012_2019/Z5_UN/IMG_0617{patch}" for patch in range(10, 17)]
SPLITS = Splits(
    title="town 1.0.0",
    stored={"train": TRAIN, "test": TEST},
    parts={"by_scene/train": TRAIN[6:], "by_scene/validation": TRAIN[:6], "fair/test": TEST},
    warnings={"by_scene": "scenes are near each other", "fair": ""},
)


@pytest.mark.parametrize(
    ("spec", "ids"),
    [
        ("train", TRAIN),
        ("train[:50%]", TRAIN[:6]),
        ("train[-25%:]", TRAIN[9:]),
        ("train[2:-3]", TRAIN[2:-3]),
        ("train[:4]+test[90%:]", [*TRAIN[:4], TEST[6]]),
        ("by_scene/train", TRAIN[6:]),
        (" by_scene/validation[1:3] + test ", [*TRAIN[1:3], *TEST]),
    ],
)
def test_ids_of(spec, ids):
    assert SPLITS.ids(spec) == tuple(ids)


@given(cut=st.integers(0, 100), other=st.integers(0, 100))
def test_slices_by_percent_part_a_split(cut, other):
    """As TensorFlow Datasets rounds: what one slice ends with the next begins after."""
    low, high = sorted((cut, other))
    found = []
    for piece in (f"train[:{low}%]", f"train[{low}%:{high}%]", f"train[{high}%:]"):
        try:
            found += SPLITS.ids(piece)
        except InputError as error:
            assert "holds no record" in str(error)
    assert found == TRAIN


@given(start=st.none() | st.integers(-20, 20), stop=st.none() | st.integers(-20, 20))
def test_slices_by_number_are_those_of_python(start, stop):
    text = f"train[{'' if start is None else start}:{'' if stop is None else stop}]"
    expected = tuple(TRAIN[start:stop])
    if expected:
        assert SPLITS.ids(text) == expected
    else:
        with pytest.raises(InputError, match="holds no record"):
            SPLITS.ids(text)


@pytest.mark.parametrize(
    "spec", ["", "nothing", "train[", "train[:0]", "train[1]", "train[:50%]]", "by_scene", "a/b", "+"]
)
def test_what_cannot_be_had_names_what_can(spec):
    with pytest.raises(InputError, match=r"split .* of town 1\.0\.0: .*train, test, by_scene/train.*list:FILE"):
        SPLITS.ids(spec)


@pytest.mark.parametrize(
    "lines",
    [
        ["ROIs1158_spring_s1_11_p2.tif", "ROIs1158_spring_s1_3_p0.tif"],
        ["ROIs1158_spring/s2_11/ROIs1158_spring_s2_11_p2.tif", "", "ROIs1158_spring_lc_3_p0"],
        ["ROIs1158_spring_11_p2", "ROIs1158_spring_3_p0"],
    ],
)
def test_lists_name_records_by_their_files(tmp_path, lines):
    path = tmp_path / "train_list.txt"
    path.write_text("\n".join(lines) + "\n")
    assert SPLITS.ids(f"list:{path}") == ("ROIs1158_spring_11_p2", "ROIs1158_spring_3_p0")
    assert SPLITS.ids(f"list:{path}[1:]") == ("ROIs1158_spring_3_p0",)


def test_lists_of_flair(tmp_path):
    """No header, image and mask side by side, with the folders of whoever wrote it."""
    path = tmp_path / "flair-1-paths-test.csv"
    row = "../data/aerial/D012_2019/Z5_UN/img/IMG_06171{0}.tif,../data/labels/D012_2019/Z5_UN/msk/MSK_06171{0}.tif"
    path.write_text("\n".join(row.format(number) for number in (4, 0)))
    assert SPLITS.ids(f"list:{path}") == (TEST[4], TEST[0])
    path.write_text("C:\\flair\\MSK_061712.tif\n")
    assert SPLITS.ids(f"list:{path}") == (TEST[2],)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"ROIs1158_spring_3_p0\nROIs1158_spring_s1_99_p0.tif\n",
            "1 of 2 lines name no one record .*'ROIs1158_spring_s1_99_p0.tif'",
        ),
        (b"ROIs1158_spring_3_p0\n" * 2, "holds 1 records more than once"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"ROIs\xe4\n", "not UTF-8"),
        (b"", "holds no record"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, content, words):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        SPLITS.ids(f"list:{path}")
    with pytest.raises(InputError, match=r"other\.txt: no such file"):
        SPLITS.ids(f"list:{tmp_path}/other.txt")


def test_records_of_one_name_are_told_apart_by_their_whole_id(tmp_path):
    """As own images in two folders are."""
    splits = Splits(
        "town", {"train": ["a/img.png_r0_c0"], "validation": ["b/img.png_r0_c0", "b/_s1_x.png_r0_c0"]}, {}, {}
    )
    path = tmp_path / "some+where[1].csv"
    path.write_bytes("\ufeffa/img.png_r0_c0\nb/_s1_x.png_r0_c0\n".encode())
    assert splits.ids(f"list:{path}") == ("a/img.png_r0_c0", "b/_s1_x.png_r0_c0")
    assert splits.ids(f"list:{path}[1:]") == ("b/_s1_x.png_r0_c0",)
    path.write_text("img.png_r0_c0\n")
    with pytest.raises(InputError, match="1 of 1 lines name no one record of town"):
        splits.ids(f"list:{path}")


@pytest.mark.parametrize("spec", ["train+train", "train[:4]+train[3:]", "train+by_scene/train"])
def test_a_record_is_in_a_split_once(spec):
    with pytest.raises(InputError, match="records more than once"):
        SPLITS.ids(spec)


def test_warnings_follow_the_partition():
    assert SPLITS.warnings_of("by_scene/train[:10%]+by_scene/validation") == ["by_scene: scenes are near each other"]
    assert SPLITS.warnings_of("train+fair/test") == []
