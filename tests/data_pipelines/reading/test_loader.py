import dataclasses
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from downloads import EDGE, parts, path_of, write_geotiff, write_patches

from data_pipelines.datasets import registry as datasets
from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.prepare import pipeline
from data_pipelines.reading import loader
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend

KEYS = ("s1", "s2", "label")
ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The data set, prepared."""
    folder = tmp_path_factory.mktemp("written")
    source = write_patches(folder / "source")
    pipeline.write(datasets.DATASETS["sample"], source, folder / "data", workers=1, max_refused=0.0)
    return folder / "data"


@pytest.fixture
def dataset(written, tmp_path):
    """One's own copy."""
    return open_dataset(shutil.copytree(written, tmp_path / "data"), "sample")


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_open_dataset_tells_what_is_there(dataset):
    assert (dataset.name, dataset.version, dataset.tile) == ("sample", "1.0.0", EDGE)
    assert dataset.splits == {"test": 3, "unlabelled": 4, "validation": 20}
    assert [sensor.name for sensor in dataset.sensors] == ["s1", "s2"]
    spec = datasets.DATASETS["sample"]
    assert (dataset.sensors, dataset.legend) == (spec.sensors, spec.legend)
    assert dataset.statistics["splits"]["validation"]["records"] == 20


def test_source_reads_what_was_published(dataset):
    source = dataset.source("validation")
    for index in (0, 7, 19):
        record = source[index]
        assert record["id"] == f"ROIs0000_validation_0_p{index}"
        np.testing.assert_array_equal(record["s2"].transpose(2, 0, 1), parts(index)["s2"])
        np.testing.assert_array_equal(record["label"], parts(index)["dfc"][0])
        assert {key: str(record[key].dtype) for key in KEYS} == {"s1": "int16", "s2": "uint16", "label": "uint8"}


@pytest.mark.parametrize(
    ("spec", "count"),
    [("validation[:75%]", 15), ("validation[75%:]", 5), ("validation[18:]+test", 5), ("unlabelled", 4)],
)
def test_ids_are_those_of_the_records(dataset, spec, count):
    source = dataset.source(spec)
    assert len(source) == count
    records = dataset._builder.as_data_source("+".join(dataset.splits))
    stored = {record["id"].decode(): record for record in records}
    for index, record_id in enumerate(source.ids):  # as TFDS reads them
        for key in KEYS:
            np.testing.assert_array_equal(source[index][key], stored[record_id][key])


def test_split_id_is_of_the_records(dataset):
    assert dataset.split_id("validation") == dataset.split_id("validation[:50%]+validation[50%:]")
    assert dataset.split_id("validation") != dataset.split_id("validation[:19]")


@pytest.mark.parametrize("spec", ["train", "validation[", "validation[:0]", ""])
def test_source_refuses(dataset, spec):
    with pytest.raises(InputError, match=r"split .* of sample"):
        dataset.source(spec)


def test_open_dataset_refuses(tmp_path):
    with pytest.raises(InputError, match=r"no prepared data set.*lcjax prepare --dataset=sample"):
        open_dataset(tmp_path, "sample")
    (tmp_path / "sample" / "1.0.0.incomplete").mkdir(parents=True)
    with pytest.raises(InputError, match="its preparation is unfinished"):
        open_dataset(tmp_path, "sample")
    with pytest.raises(InputError, match="unknown; expected one of"):
        open_dataset(tmp_path, "nothing")
    with pytest.raises(InputError, match=r"rasters.town.1\.0\.0: no prepared data set.*--dataset=rasters/town"):
        open_dataset(tmp_path, "rasters/town")
    with pytest.raises(InputError, match=r"'rasters/1\.0\.0': expected letters, digits"):
        open_dataset(tmp_path, "rasters/1.0.0")


@pytest.mark.parametrize("name", ["description.json", "statistics.json", "partitions.json"])
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (4, "schema_version 4, and this lcjax reads 3; use the newer lcjax that wrote it"),
        (None, "no schema_version; expected 3; "),
        ("3", "schema_version '3'; expected 3; "),
    ],
)
def test_another_version_is_refused_by_name(dataset, tmp_path, name, stated, message):
    path = dataset.folder / name
    fields = json.loads(path.read_text())
    assert fields.pop("schema_version") == 3
    path.write_text(json.dumps(fields | ({"schema_version": stated} if stated else {})))
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        open_dataset(tmp_path / "data", "sample").source("validation")


def test_band_statistics_of_another_version_are_refused(dataset):
    dataset.band_statistics("validation[:2]")
    (path,) = dataset.folder.glob("band_statistics-*.json")
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 4'))
    with pytest.raises(InputError, match=rf"{path.name}: schema_version 4, and this lcjax reads 3"):
        dataset.band_statistics("validation[:2]")


@pytest.mark.parametrize("missing", ["description.json", "statistics.json", "records.csv", "partitions.json"])
def test_open_dataset_without_its_tables(dataset, tmp_path, missing):
    (dataset.folder / missing).unlink()
    with pytest.raises(InputError, match=f"{missing}: no such file; expected .*; delete the folder and run"):
        open_dataset(tmp_path / "data", "sample")


def test_bands_are_read_by_name(dataset, tmp_path):
    whole = dataset.source("validation")[3]
    some = open_dataset(tmp_path / "data", "sample", bands="B8+B2")
    assert [sensor.bands for sensor in some.sensors] == [("VV", "VH"), ("B8", "B2")]
    record = some.source("validation")[3]
    np.testing.assert_array_equal(record["s2"], whole["s2"][..., [7, 1]])
    np.testing.assert_array_equal(record["s1"], whole["s1"])
    found = some.band_statistics("validation")["s2"]
    everything = dataset.statistics["splits"]["validation"]["sensors"]["s2"]
    assert found["mean"] == [everything["mean"][7], everything["mean"][1]]
    assert found["correlation"][0][1] == everything["correlation"][7][1]
    with pytest.raises(InputError, match=r"config\.bands='B77'"):
        open_dataset(tmp_path / "data", "sample", bands="B77")


def test_band_statistics_of_a_part_are_those_of_its_pixels(dataset):
    stored = np.rint(np.stack([parts(n)["s1"] for n in (18, 19)], 1).astype(np.float64) * 100).reshape(2, -1)
    for _ in range(2):  # summed up, and read again
        found = dataset.band_statistics("validation[18:]")["s1"]
        assert found["pixels"] == stored.shape[1]
        np.testing.assert_allclose(found["mean"], stored.mean(1), rtol=1e-12)
        np.testing.assert_allclose(found["std"], stored.std(1), rtol=1e-9)
    assert len(list(dataset.folder.glob("band_statistics-*.json"))) == 1


def test_band_statistics_of_whole_splits_add_up(dataset):
    both = dataset.band_statistics("validation+test")["s2"]
    stored = np.concatenate([parts(n)["s2"].reshape(13, -1).astype(np.float64) for n in (*range(20), *range(3))], 1)
    assert both["pixels"] == stored.shape[1]
    np.testing.assert_allclose(both["mean"], stored.mean(1), rtol=1e-9)
    np.testing.assert_allclose(both["std"], stored.std(1), rtol=1e-6)
    np.testing.assert_allclose(both["correlation"], np.corrcoef(stored), atol=1e-6)
    assert not list(dataset.folder.glob("band_statistics-*.json"))  # nothing was read


def test_band_statistics_leave_out_what_was_filled(source, tmp_path):
    """As the statistics of whole splits do."""
    changed = parts(2)["s2"].copy()
    changed[:, 3:9, :] = 0  # no data
    write_geotiff(path_of(source, "ROIs0000_validation", "s2", 2), changed)
    pipeline.write(datasets.DATASETS["sample"], source, tmp_path / "data", options={"max_nodata": 0.9})
    dataset = open_dataset(tmp_path / "data", "sample")
    whole = dataset.band_statistics("validation")
    assert whole["s1"]["pixels"] == 20 * EDGE**2 - 6 * EDGE
    for sensor, found in dataset.band_statistics("validation[:7]+validation[7:]").items():
        assert found["pixels"] == whole[sensor]["pixels"]
        np.testing.assert_allclose(found["std"], whole[sensor]["std"], rtol=1e-9)


def test_band_statistics_in_a_folder_that_is_only_read(dataset, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("data_pipelines.schema.schema_version.write_atomically", refuse)
    assert dataset.band_statistics("validation[:2]")["s1"]["pixels"] == 2 * EDGE**2


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"workers": -2}])
def test_fewer_than_no_readers(dataset, wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=rf"config\.{name}=-\d: expected 0 or more"):
        loader.train_batches(dataset.source("test"), batch_size=2, seed=0, position=0, keys=KEYS, **wrong)


NOTEBOOK = """
import sys
from data_pipelines.reading import dataset, loader

if __name__ == "__main__":
    source = dataset.open_dataset(sys.argv[1], "sample").source("validation")
    batches = loader.train_batches(source, batch_size=2, seed=0, position=0, keys=("s1",), workers=1)
    print(next(batches)["s1"].shape)
    batches.close()
"""


def test_workers_in_a_program_without_flags(dataset, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(NOTEBOOK)
    command = [sys.executable, str(script), str(tmp_path / "data")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"(2, {EDGE}, {EDGE}, 2)"), done.stderr


KILLED = NOTEBOOK.replace("batches.close()", "os.kill(os.getpid(), 9)").replace("import sys", "import os, sys")


def test_workers_end_with_a_program_that_is_killed(dataset, tmp_path):
    """What they print to is closed when the last of them has ended."""
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "data")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -9


def test_class_pixels_are_of_the_records(dataset):
    labels = np.concatenate([parts(n)["dfc"].ravel() for n in range(5)])
    expected = {str(label): int((labels == label).sum()) for label in range(1, 11)}
    assert dataset.class_pixels("validation[:5]") == expected
    assert dataset.class_pixels("unlabelled") == {}


def test_labels_are_read_as_a_legend(source, tmp_path):
    stored = DFC2020
    water = Legend("water", (LandClass(1, "land", "#00ff00"), LandClass(10, "water", "#0000ff")),
                   merges=tuple((label, 1) for label in range(2, 10)), ignored=(0,))  # fmt: skip
    spec = dataclasses.replace(datasets.DATASETS["sample"], legends=(stored, water))
    pipeline.write(spec, source, tmp_path / "data")
    plain, merged = (open_dataset(tmp_path / "data", "sample", legend=name) for name in ("", "water"))
    assert (plain.legend, merged.legend) == (stored, water)
    expected = np.where(parts(2)["dfc"][0] == 10, 10, 1)
    np.testing.assert_array_equal(merged.source("validation")[2]["label"], expected)
    np.testing.assert_array_equal(plain.source("validation")[2]["label"], parts(2)["dfc"][0])
    land, sea = (int((expected == label).sum()) for label in (1, 10))
    assert merged.class_pixels("validation[2:3]") == {"1": land, "10": sea}
    every = merged.statistics["splits"]["validation"]["class_pixels"]
    assert every == merged.class_pixels("validation")
    with pytest.raises(InputError, match=r"'sea': the data set has no such legend; expected one of dfc2020, water"):
        open_dataset(tmp_path / "data", "sample", legend="sea")


def test_every_epoch_holds_each_record_once_in_another_order():
    epochs = [[loader.record_index(epoch * 20 + i, 20, seed=3) for i in range(20)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != [loader.record_index(i, 20, seed=4) for i in range(20)]


def test_order_is_fixed_for_ever():
    """A run that goes on with a later version must see the same order."""
    assert [loader.record_index(i, 10, seed=0) for i in range(12)] == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1, 9, 1]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_train_batches_follow_the_stream(dataset, threads):
    source = dataset.source("validation")
    batches = take(loader.train_batches(source, batch_size=6, seed=1, position=0, keys=KEYS, threads=threads), 5)
    for number, batch in enumerate(batches):
        assert batch["s1"].shape == (6, EDGE, EDGE, 2)
        assert batch["example"].dtype == np.uint32
        np.testing.assert_array_equal(batch["example"], np.arange(6 * number, 6 * number + 6))
        for at, s2 in zip(batch["example"], batch["s2"], strict=True):
            np.testing.assert_array_equal(s2, source[loader.record_index(int(at), 20, 1)]["s2"])


def test_train_batches_go_on_from_a_position(dataset):
    source = dataset.source("validation")
    whole = take(loader.train_batches(source, batch_size=4, seed=1, position=0, keys=KEYS), 8)
    rest = take(loader.train_batches(source, batch_size=4, seed=1, position=12, keys=KEYS), 5)
    for expected, batch in zip(whole[3:], rest, strict=True):
        assert all(np.array_equal(expected[key], batch[key]) for key in expected)


@pytest.mark.parametrize(("crop", "edge"), [(0, EDGE), (8, 8), (12, EDGE), (EDGE, EDGE)])
def test_crops_are_cut_where_that_saves(dataset, crop, edge):
    """The same square for every sensor and the label, wherever it is cut."""
    source = dataset.source("validation")
    for batch in take(loader.train_batches(source, batch_size=5, seed=1, position=7, keys=KEYS, crop=crop), 4):
        assert {batch[key].shape[1:3] for key in KEYS} == {(edge, edge)}
        for i, at in enumerate(batch["example"]):
            top, left = loader.corner(int(at), EDGE, crop, 1)
            record = source[loader.record_index(int(at), 20, 1)]
            down, right = batch["corner"][i]
            for key in KEYS:
                expected = record[key][top : top + (crop or EDGE), left : left + (crop or EDGE)]
                found = batch[key][i][down : down + (crop or EDGE), right : right + (crop or EDGE)]
                np.testing.assert_array_equal(found, expected)


def test_corners_are_spread_and_stay_inside():
    corners = np.array([loader.corner(position, 10, 8, 0) for position in range(900)])
    assert corners.min() == 0
    assert corners.max() == 2
    counts = np.unique(corners[:, 0] * 3 + corners[:, 1], return_counts=True)[1]
    assert len(counts) == 9
    assert counts.min() > 60  # 100 each on average
    other = np.array([loader.corner(position, 10, 8, 1) for position in range(900)])
    assert (corners != other).any(1).mean() > 0.8


def examples_of(source, workers, position, process=0, processes=1, count=3):
    """What follows a position: for each batch the examples, and the pixels."""
    batches = loader.train_batches(
        source, batch_size=4, seed=1, position=position, keys=("s1", "label"), crop=8, process_index=process,
        process_count=processes, threads=1, workers=workers,
    )  # fmt: skip
    return take(batches, count)


def test_a_run_goes_on_with_any_number_of_workers_and_hosts(dataset):
    source = dataset.source("validation")
    whole = examples_of(source, 0, 0, count=6)
    for workers, processes, done in ((0, 1, 3), (0, 2, 3), (1, 1, 0), (2, 1, 3), (1, 1, 3), (2, 2, 3)):
        shares = [examples_of(source, workers, 4 * done, p, processes) for p in range(processes)]
        for number in range(3):
            for key, values in whole[done + number].items():
                joined = np.concatenate([share[number][key] for share in shares])
                np.testing.assert_array_equal(joined, values, err_msg=f"{workers}, {processes}, {key}")


def test_processes_share_each_global_batch(dataset):
    source = dataset.source("validation")
    arguments = {"batch_size": 6, "seed": 1, "position": 5, "keys": ("s2",)}
    whole = take(loader.train_batches(source, **arguments), 4)
    shares = [take(loader.train_batches(source, **arguments, process_index=p, process_count=3), 4) for p in range(3)]
    for number, batch in enumerate(whole):
        assert set(batch) == {"s2", "corner", "example"}
        for key, values in batch.items():
            np.testing.assert_array_equal(values, np.concatenate([share[number][key] for share in shares]))


def test_more_in_a_batch_than_records(dataset):
    (batch,) = take(loader.train_batches(dataset.source("test"), batch_size=8, seed=0, position=0, keys=KEYS), 1)
    np.testing.assert_array_equal(batch["example"], np.arange(8))


def test_record_ids(dataset):
    source = dataset.source("validation")
    expected = [source[loader.record_index(at, 20, 9)]["id"] for at in (0, 25)]
    assert loader.record_ids(source, np.array([0, 25], np.uint32), seed=9) == expected


@pytest.mark.parametrize(("batch_size", "processes"), [(8, 1), (6, 3), (20, 2), (32, 4)])
def test_eval_batches_hold_every_record_once(dataset, batch_size, processes):
    source = dataset.source("validation")
    shares = [
        list(loader.eval_batches(source, batch_size=batch_size, keys=KEYS, process_index=p, process_count=processes))
        for p in range(processes)
    ]
    assert {len(share) for share in shares} == {-(-20 // batch_size)}
    local = batch_size // processes
    seen = []
    for number in range(len(shares[0])):
        for batch in (share[number] for share in shares):
            assert batch["s2"].shape == (local, EDGE, EDGE, 13)
            assert batch["valid"].dtype == bool
            assert len(batch["ids"]) == local
            seen += [record_id for record_id, valid in zip(batch["ids"], batch["valid"], strict=True) if valid]
            assert (batch["label"][~batch["valid"]] == 255).all()
            assert (batch["label"][batch["valid"]] != 255).all()
    assert seen == list(source.ids)


def test_eval_batches_without_labels(dataset):
    (batch,) = loader.eval_batches(dataset.source("test"), batch_size=4, keys=("s1",))
    assert set(batch) == {"s1", "valid", "ids"}
    np.testing.assert_array_equal(batch["valid"], [True, True, True, False])


def test_a_batch_that_does_not_divide(dataset):
    with pytest.raises(InputError, match=r"config\.batch_size=5: expected a positive multiple of the 2 processes"):
        loader.train_batches(dataset.source("test"), batch_size=5, seed=0, position=0, keys=KEYS, process_count=2)


def test_reading_needs_no_heavy_library():
    code = (
        "import sys; from data_pipelines.reading import dataset, loader; "
        "print([name for name in ('tensorflow', 'rasterio', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA does not name a folder")
def test_real_places(tmp_path):
    source = pathlib.Path(os.environ["LCJAX_REAL_DATA"]) / "sentinel_dfc2020"
    pipeline.write(datasets.DATASETS["dfc2020"], source, tmp_path, workers=1, max_refused=0.0)
    dataset = open_dataset(tmp_path, "dfc2020")
    assert dataset.splits == {"validation": 3}
    assert dataset.tile == 224
    record = dataset.source("validation")[2]
    assert set(np.unique(record["label"])) == {8}
    assert -3500 < record["s1"].mean() < 0


def test_a_damaged_shard_is_named_with_the_record(dataset):
    """What ArrayRecord or the parser says of bytes that are not as they were written is one line, and no traceback."""
    ids = dataset.source("validation").ids
    for shard in sorted(dataset.folder.glob("*validation*.array_record*")):
        written = shard.read_bytes()
        shard.write_bytes(written[:200] + bytes(len(written) - 400) + written[-200:])
    with pytest.raises(InputError, match=rf"^{dataset.folder}: record .* of validation cannot be read") as caught:
        for index in range(len(ids)):
            dataset.source("validation").read(index, ["label"])
    assert "\n" not in str(caught.value)
