"""Arrays of a session, read as prepared records are, and refused by name where they cannot be."""

import itertools

import numpy as np
import pytest

from data_pipelines.reading import loader
from data_pipelines.reading.arrays import from_arrays
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend

EDGE = 12
CLASSES = ["water", "road", "tree"]
KEYS = ("image", "label")


def drawn(count, dtype="uint8", seed=0, bands=2):
    """Images (count, EDGE, EDGE, bands) and masks with classes 0 to 2 and pixels without a label."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 120, (count, EDGE, EDGE, bands)).astype(dtype)
    return images, generator.choice(np.array([0, 1, 2, 255], np.uint8), (count, EDGE, EDGE))


@pytest.fixture
def splits():
    return {"train": drawn(10), "test": drawn(4, seed=1)}


def test_it_tells_what_is_there(splits):
    data = from_arrays(splits, CLASSES)
    assert (data.name, data.version, data.tile, data.folder, data.in_memory) == (
        "arrays",
        "in memory",
        EDGE,
        None,
        True,
    )
    assert data.splits == {"train": 10, "test": 4} and data.partitions == {}
    (sensor,) = data.sensors
    assert (sensor.name, sensor.bands, sensor.dtype) == ("image", ("band1", "band2"), "uint8")
    assert [(c.id, c.name) for c in data.legend.scored] == list(enumerate(CLASSES))
    assert len({c.colour for c in data.legend.classes}) == 3


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32", ">u2"])
def test_records_are_the_arrays(dtype):
    images, masks = drawn(6, dtype)
    data = from_arrays({"train": (images, masks.astype(np.int64))}, CLASSES)
    source = data.source("train[2:]")
    assert (len(source), source.tile, source.ids) == (4, EDGE, tuple(f"train/{n}" for n in range(2, 6)))
    record = source[1]
    assert record["id"] == "train/3"
    np.testing.assert_array_equal(record["image"], images[3])
    np.testing.assert_array_equal(record["label"], masks[3])
    assert record["image"].dtype == np.dtype(dtype).newbyteorder("=") == np.dtype(data.sensors[0].dtype)
    assert record["label"].dtype == np.uint8
    assert not source.has_numbers("metadata")
    with pytest.raises(KeyError):
        source.read(0, ["elevation"])


def test_arrays_are_neither_copied_nor_changed(splits):
    images, masks = splits["train"]
    data = from_arrays(splits, CLASSES)
    record = data.source("train")[0]
    assert np.shares_memory(record["image"], images)
    with pytest.raises(ValueError, match="read-only"):
        record["image"][0, 0, 0] = 1
    record["label"][:] = 7  # a copy
    assert masks.max() == 255 and 7 not in masks
    assert images.flags.writeable and masks.flags.writeable  # they are still their owner's


@pytest.mark.parametrize("crop", [0, 4, 10])
def test_batches_are_cut_and_ordered_as_prepared_ones(splits, crop):
    images, masks = splits["train"]
    source = from_arrays(splits, CLASSES).source("train")
    batches = loader.train_batches(source, batch_size=4, seed=3, position=6, keys=KEYS, crop=crop)
    size = loader.host_size(EDGE, crop)
    for batch in itertools.islice(batches, 4):
        assert batch["image"].shape == (4, size, size, 2)
        for row, position in enumerate(batch["example"].tolist()):
            place = loader.record_index(position, 10, 3)
            top, left = loader.corner(position, EDGE, crop, 3)
            down, right = batch["corner"][row]
            end = crop or EDGE
            for key, whole in (("image", images), ("label", masks)):
                np.testing.assert_array_equal(
                    batch[key][row][down : down + end, right : right + end],
                    whole[place][top : top + end, left : left + end],
                )


def test_every_record_is_evaluated_once(splits):
    source = from_arrays(splits, CLASSES).source("test")
    batches = list(loader.eval_batches(source, batch_size=3, keys=KEYS))
    assert [batch["valid"].tolist() for batch in batches] == [[True] * 3, [True, False, False]]
    np.testing.assert_array_equal(batches[1]["image"][0], splits["test"][0][3])
    assert (batches[1]["label"][1:] == 255).all()


def test_splits_are_sliced_and_added(splits):
    data = from_arrays(splits, CLASSES)
    assert data.source("test+train[80%:]").ids == (*(f"test/{n}" for n in range(4)), "train/8", "train/9")
    with pytest.raises(InputError, match="split 'validation' of arrays: there is no 'validation'"):
        data.source("validation")


def test_split_ids_are_of_ids_images_and_labels(splits):
    images, masks = splits["train"]

    def split_id(images, masks, spec="train", classes=CLASSES, **options):
        return from_arrays({"train": (images, masks)}, classes, **options).split_id(spec)

    known = split_id(images, masks)
    assert known == split_id(images.copy(), masks.astype(np.int32))
    assert known == split_id(images, masks, "train[:3]+train[3:]")
    assert known == split_id(np.asfortranarray(images), masks)
    other, relabelled = images.copy(), masks.copy()
    other[9, 11, 11, 1] ^= 1
    relabelled[9, 11, 11] = 2 if masks[9, 11, 11] != 2 else 1
    others = [
        split_id(other, masks),
        split_id(images, relabelled),
        split_id(images, None),
        split_id(images[::-1], masks[::-1]),
        split_id(images.astype(np.uint16), masks),
        split_id(images, masks, "train[:9]"),
        split_id(images, masks, "train[1:]"),
        split_id(images, masks, nodata=5),
    ]
    assert known not in others and len(set(others)) == len(others)


def test_statistics_are_those_of_the_pixels(splits):
    data = from_arrays(splits, CLASSES)
    pixels = np.concatenate([splits["train"][0][5:], splits["test"][0]]).reshape(-1, 2).astype(float)
    told = data.band_statistics("train[50%:]+test")["image"]
    assert told["pixels"] == len(pixels)
    for name, expected in (("mean", pixels.mean(0)), ("std", pixels.std(0)), ("correlation", np.corrcoef(pixels.T))):
        np.testing.assert_allclose(told[name], expected, rtol=1e-9, atol=1e-12)
    masks = np.concatenate([splits["train"][1][5:], splits["test"][1]])
    assert data.class_pixels("train[50%:]+test") == {str(i): int((masks == i).sum()) for i in range(3)}


def test_the_scaling_is_of_the_split_train(splits):
    scaling = from_arrays({"test": splits["test"], "train": splits["train"]}, CLASSES).sensors[0].scaling
    pixels = splits["train"][0].reshape(-1, 2).astype(float)
    np.testing.assert_allclose(scaling.offset, pixels.mean(0))
    np.testing.assert_allclose(scaling.scale, pixels.std(0))
    np.testing.assert_array_equal([scaling.low, scaling.high], [pixels.min(0), pixels.max(0)])
    only = from_arrays({"a": splits["test"]}, CLASSES).sensors[0].scaling
    np.testing.assert_allclose(only.offset, splits["test"][0].reshape(-1, 2).mean(0))


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 200), ("int16", -9999), ("float32", np.nan)])
def test_pixels_without_data_are_filled_and_not_counted(dtype, nodata):
    images, masks = drawn(3, dtype)
    holes = np.zeros(images.shape[:3], bool)
    holes[1, 2:5, 3:] = holes[2] = True
    changed = images.copy()
    changed[holes, 0] = nodata  # in one band
    data = from_arrays({"train": (changed, masks)}, CLASSES, nodata=nodata)
    source = data.source("train")
    np.testing.assert_array_equal(source[0]["image"], images[0])
    mean = images[1][~holes[1]].mean(0, dtype=np.float64)
    mean = mean if dtype == "float32" else np.rint(mean)
    record = source[1]
    np.testing.assert_array_equal(record["image"], np.where(holes[1][..., None], mean.astype(dtype), images[1]))
    np.testing.assert_array_equal(record["label"], np.where(holes[1], 255, masks[1]))
    cut = source.read(1, KEYS, corner=(1, 3), size=4)  # filled with the mean of the whole record
    np.testing.assert_array_equal(cut["image"], record["image"][1:5, 3:7])
    np.testing.assert_array_equal(cut["label"], record["label"][1:5, 3:7])
    assert (source[2]["image"] == 0).all() and (source[2]["label"] == 255).all()
    told = data.band_statistics("train")["image"]
    assert told["pixels"] == np.count_nonzero(~holes)
    np.testing.assert_allclose(told["mean"], images[~holes].mean(0, dtype=np.float64))
    assert data.class_pixels("train") == {str(i): int((masks[~holes] == i).sum()) for i in range(3)}
    assert np.array_equal(changed[holes, 0], np.full(holes.sum(), nodata, dtype), equal_nan=dtype == "float32")


def test_a_split_without_labels(splits):
    images = splits["train"][0]
    data = from_arrays({"train": (images, None)}, CLASSES)
    assert (data.source("train")[0]["label"] == 255).all()
    assert data.source("train").read(0, ["label"], (2, 3), 5)["label"].shape == (5, 5)
    assert data.class_pixels("train") == {} and data.warnings("train") == []


def test_a_class_that_is_labelled_nowhere_is_warned_of(splits):
    images, masks = splits["train"]
    few = np.where(masks == 1, 0, masks)
    few[0] = np.where(masks[0] == 2, 2, 1)
    data = from_arrays({"train": (images, few), "test": splits["test"]}, CLASSES)
    assert data.warnings("train") == [] == data.warnings("test[:0%]+test")
    assert data.warnings("train[1:]") == ["train[1:]: no pixel is labelled road: it cannot be learned"]
    nowhere = from_arrays({"train": (images, np.full_like(masks, 255))}, CLASSES)
    assert nowhere.warnings("train") == ["train: no pixel is labelled water, road, tree: it cannot be learned"]


def test_a_legend_gives_ids_of_its_own(splits):
    images, masks = splits["train"]
    land = Legend("land", (LandClass(3, "land", "#00ff00"), LandClass(7, "sea", "#0000ff")), (0,), merges=((2, 3),))
    ids = np.array([0, 2, 7], np.uint8)[np.where(masks == 255, 0, masks)]
    data = from_arrays({"train": (images, ids)}, land)
    assert data.legend == land
    np.testing.assert_array_equal(data.source("train")[4]["label"], np.where(ids[4] == 2, 3, ids[4]))
    assert data.class_pixels("train")["3"] == (ids == 2).sum()
    with pytest.raises(InputError, match=r"record 0 holds 1; expected ids of the classes \(0, 2, 3, 7\), and 255"):
        from_arrays({"train": (images, np.ones_like(ids))}, land)


def test_a_legend_may_list_255(splits):
    """Arrays hold what masks and maps of the legend hold."""
    images, masks = splits["train"]
    binary = Legend("binary", (LandClass(0, "land", "#00ff00"), LandClass(1, "house", "#0000ff", written=255)))
    numbers = np.select([masks == 255, masks == 0], [254, 0], 255)
    data = from_arrays({"train": (images, numbers)}, binary)
    expected = np.select([masks == 255, masks == 0], [255, 0], 1)
    np.testing.assert_array_equal(data.source("train")[4]["label"], expected[4])
    with pytest.raises(InputError, match=r"record 0 holds 1; expected ids of the classes \(0, 255\), and 254 where"):
        from_arrays({"train": (images, np.ones_like(numbers))}, binary)


def test_names_colours_and_bands(splits):
    data = from_arrays(splits, [("water", "#1C0DFF"), "road", ("tree", "#00aa00")], bands=["NIR", "red"], sensor="s2")
    assert [c.colour for c in data.legend.classes][::2] == ["#1c0dff", "#00aa00"]
    (sensor,) = data.sensors
    assert (sensor.name, sensor.bands, sensor.display) == ("s2", ("NIR", "red"), ("NIR",))
    assert set(data.source("test")[0]) == {"id", "s2", "label"}


IMAGES, MASKS = drawn(3)
FLOATS = IMAGES.astype(np.float32)
FLOATS[2, 0, 0, 1] = np.inf
NANS = IMAGES.astype(np.float32)
NANS[1, 3:, 0] = np.nan


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, r"splits: expected \{\"train\""),
        ([IMAGES], "splits: expected"),
        ({"train[1]": (IMAGES, MASKS)}, r"split 'train\[1\]': expected a name of letters"),
        ({"train": IMAGES}, "split 'train': found of type ndarray; expected a pair"),
        ({"train": (IMAGES.tolist(), MASKS)}, "images are of type list; expected a numpy array"),
        ({"train": (np.ma.masked_equal(IMAGES, 3), MASKS)}, r"images are a masked array.*pass nodata=VALUE"),
        ({"train": (IMAGES[..., 0], MASKS)}, r"images of shape \(3, 12, 12\).*images\[\.\.\., None\]"),
        ({"train": (IMAGES[:0], MASKS[:0])}, r"images of shape \(0, 12, 12, 2\) hold nothing"),
        ({"train": (IMAGES[:, :8], MASKS[:, :8])}, "images 8 pixels high and 12 wide; expected squares"),
        ({"train": (IMAGES.transpose(0, 3, 1, 2), MASKS)}, r"images\.transpose\(0, 2, 3, 1\)"),
        ({"train": (IMAGES.astype(float), MASKS)}, r"are float64; expected uint8.*images\.astype\(np\.float32\)"),
        ({"train": (IMAGES > 3, MASKS)}, r"are bool; expected.*images\.astype\(np\.uint8\)"),
        ({"train": (IMAGES, MASKS[..., None])}, r"masks of shape \(3, 12, 12, 1\).*masks\[\.\.\., 0\]"),
        ({"train": (IMAGES, MASKS[:2])}, r"masks of shape \(2, 12, 12\); expected \(3, 12, 12\)"),
        ({"train": (IMAGES, MASKS.astype(float))}, r"masks are float64; expected integers.*np\.uint8"),
        ({"train": (IMAGES, MASKS == 1)}, "masks are bool; expected integers"),
        ({"train": (IMAGES, np.where(MASKS == 2, -1, MASKS.astype(int)))}, "mask of record 0 holds -1; expected ids"),
        (
            {"train": (IMAGES, MASKS + np.uint8(1))},
            r"record 0 holds 3; expected ids of the classes \(0, 1, 2\)",
        ),
        ({"train": (FLOATS, MASKS)}, "split 'train': record 2 holds 1 numbers that are NaN or infinite"),
        ({"train": (NANS, MASKS)}, r"record 1 holds 18 numbers.*nodata=float\('nan'\)"),
        (
            {"train": (IMAGES, MASKS), "test": (IMAGES[..., :1], MASKS)},
            "split 'test': images of 12 x 12 pixels with 1 bands of uint8, but 12 x 12 pixels with 2 bands of uint8",
        ),
        (
            {"train": (IMAGES, MASKS), "test": (IMAGES.astype(np.int16), MASKS)},
            "bands of int16, but .* in split 'train'; expected the same",
        ),
        (
            {"train": (IMAGES, MASKS), "test": (IMAGES[:, :6, :6], MASKS[:, :6, :6])},
            "split 'test': images of 6 x 6 pixels",
        ),
    ],
)
def test_arrays_that_are_refused(splits, message):
    with pytest.raises(InputError, match=message):
        from_arrays(splits, CLASSES)


def test_infinite_numbers_are_refused_beside_nodata():
    with pytest.raises(InputError, match="record 2 holds 1 numbers"):
        from_arrays({"train": (FLOATS, MASKS)}, CLASSES, nodata=np.nan)
    assert from_arrays({"train": (NANS, MASKS)}, CLASSES, nodata=np.nan).splits == {"train": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "water"}, "classes: found of type str"),
        ({"classes": ["water"]}, "classes: found 1; expected 2 to 255"),
        ({"classes": ["water", ""]}, r"classes\[1\]=''"),
        ({"classes": ["water", ("road", "red")]}, r"classes\[1\]=\('road', 'red'\): expected a name, or a name and"),
        ({"classes": ["water", 3]}, r"classes\[1\]=3"),
        ({"classes": ["water", "water"]}, "this name once more"),
        ({"bands": "rgb"}, "bands='rgb': expected a list of 2 names"),
        ({"bands": ["red"]}, r"bands=\['red'\]: expected 2 different names"),
        ({"bands": ["red", "Red"]}, "expected 2 different names"),
        ({"sensor": "label"}, "sensor='label': expected a word other than"),
        ({"nodata": -1}, "nodata=-1: expected a whole number from 0 to 255, as in uint8"),
        ({"nodata": np.nan}, "nodata=nan: expected a whole number"),
        ({"nodata": "none"}, "nodata='none': expected a number"),
    ],
)
def test_descriptions_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        from_arrays({"train": (IMAGES, MASKS)}, **{"classes": CLASSES} | options)


def test_other_processes_cannot_read_them(splits):
    source = from_arrays(splits, CLASSES).source("train")
    arguments = {"batch_size": 2, "keys": KEYS}
    with pytest.raises(InputError, match=r"config\.workers=1: the data are arrays of this Python process; expected 0"):
        loader.train_batches(source, **arguments, seed=0, position=0, workers=1)
    with pytest.raises(InputError, match="arrays of one Python process, but 2 processes share the run"):
        loader.train_batches(source, **arguments, seed=0, position=0, process_count=2)
    with pytest.raises(InputError, match="arrays of one Python process, but 2 processes share the run"):
        next(loader.eval_batches(source, **arguments, process_count=2))


# ---- several sensors ------------------------------------------------------------------------------------------------


def pairs(count, seed=0):
    """({sensor: images}, masks) of a float32 sensor with NaN and of a uint8 one."""
    radar, masks = drawn(count, "float32", seed, bands=1)
    radar[0, :2, 3] = np.nan
    return {"radar": radar, "optical_after": drawn(count, "uint8", seed + 50, bands=3)[0]}, masks


def test_several_sensors_are_read_side_by_side():
    train, unlabelled = pairs(4), pairs(3, seed=9)
    bands, nodata = {"optical_after": ["red", "green", "blue"]}, {"radar": np.nan}
    data = from_arrays({"train": train, "more": (unlabelled[0], None)}, CLASSES, bands=bands, nodata=nodata)
    assert [(s.name, s.bands, s.dtype) for s in data.sensors] == [
        ("radar", ("band1",), "float32"),
        ("optical_after", ("red", "green", "blue"), "uint8"),
    ]
    np.testing.assert_allclose(data.sensors[0].scaling.offset, np.nanmean(train[0]["radar"].astype(float)))
    np.testing.assert_allclose(data.sensors[1].scaling.offset, train[0]["optical_after"].mean((0, 1, 2)))
    record = data.source("train")[0]
    np.testing.assert_array_equal(record["optical_after"], train[0]["optical_after"][0])
    assert (record["label"][:2, 3] == 255).all() and np.isfinite(record["radar"]).all()
    np.testing.assert_array_equal(record["label"][2:], train[1][0, 2:])
    cut = data.source("more").read(1, ["optical_after", "label"], (1, 2), 4)
    np.testing.assert_array_equal(cut["optical_after"], unlabelled[0]["optical_after"][1, 1:5, 2:6])
    assert (cut["label"] == 255).all() and data.class_pixels("more") == {}
    swapped = {"optical_after": train[0]["optical_after"], "radar": train[0]["radar"]}
    again = from_arrays({"train": (swapped, train[1])}, CLASSES, nodata=nodata)
    assert [sensor.name for sensor in again.sensors] == ["optical_after", "radar"]


def without(**changes):
    images, masks = pairs(2)
    images["radar"] = np.nan_to_num(images["radar"])
    return {"train": (images, masks), "test": (images | changes, masks)}


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        (
            without(optical_after=np.zeros((2, 6, 6, 3), np.uint8)),
            {},
            "split 'test': optical_after of 6 x 6 pixels with 3",
        ),
        (
            without(thermal=np.zeros((2, 12, 12, 1), np.uint8)),
            {},
            "split 'test': images of radar, .*thermal, but of radar,",
        ),
        ({"train": ({}, None)}, {}, "split 'train': no images; expected"),
        (
            {"train": ({"a": np.zeros((2, 8, 8, 1), np.uint8), "b": np.zeros((3, 8, 8, 1), np.uint8)}, None)},
            {},
            r"split 'train': b of shape \(3, 8, 8, 1\), but a of \(2, 8, 8, 1\); expected as many places",
        ),
        (
            {"train": ({"late": np.zeros((2, 8, 8, 1), np.uint8)}, None)},
            {},
            "sensor 'late': found 'late', expected small",
        ),
        (without(), {"bands": ["red"]}, r"bands=\['red'\]: expected a dictionary by sensor, of radar, optical_after"),
        (without(), {"bands": {"nir": ["a"]}}, "bands={'nir'.*: expected a dictionary by sensor"),
        (without(), {"nodata": {"optical_after": -1}}, "nodata=-1: expected a whole number from 0 to 255"),
        ({"train": pairs(2)}, {}, "split 'train': record 0 holds 2 numbers that are NaN"),
    ],
)
def test_sensors_that_are_refused(splits, options, message):
    with pytest.raises(InputError, match=message):
        from_arrays(splits, CLASSES, **options)
