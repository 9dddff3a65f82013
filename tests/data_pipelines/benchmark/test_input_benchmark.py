import json
import multiprocessing
import time

import numpy as np
import pytest

from data_pipelines.benchmark import input_benchmark, input_variants
from data_pipelines.schema.sensors import S1, to_storage

RECORDS = 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder with the files, and the figures."""
    folder = tmp_path_factory.mktemp("throughput")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_benchmark, "_BATCH", 2)
        return folder, input_benchmark.measure(folder, records=RECORDS, repeats=2, loaders=((0, 0), (2, 0)))


@pytest.mark.parametrize("kind", input_variants.KINDS)
def test_every_way_has_its_figures(measured, kind):
    figures = json.loads(json.dumps(measured[1]))[kind]
    rates = figures["records_per_second"]
    assert rates.keys() == figures["ways"].keys() == input_benchmark.TITLES.keys()
    assert figures["ratio"] == rates["shards"] / rates["geotiff_deflate"]
    for key, way in figures["ways"].items():
        low, high = way["cpu_spread"]
        assert 0 < low <= way["records_per_cpu_second"] == rates[key] <= high
        assert way["megabytes_per_cpu_second"] == pytest.approx(rates[key] * way["megabytes"])
    assert [(row["threads"], row["workers"]) for row in figures["loader"]] == [(0, 0), (2, 0)]
    assert figures["cores"]["5000"] == pytest.approx(5 * 1000 / figures["loader"][1]["records_per_cpu_second"])


def test_disk_and_raw(measured):
    sen12ms, flair1 = (measured[1][kind]["ways"] for kind in ("sen12ms", "flair1"))
    assert sen12ms["geotiff"]["megabytes"] == pytest.approx(256**2 * (2 * 4 + 13 * 2 + 4) / 1e6)
    assert sen12ms["shards"]["megabytes"] == pytest.approx(256**2 * (2 * 2 + 13 * 2 + 1) / 1e6)
    assert flair1["shards"]["megabytes"] == flair1["geotiff"]["megabytes"] == pytest.approx(512**2 * 6 / 1e6)
    for way in (sen12ms, flair1):
        assert way["geotiff"]["disk_to_raw"] == pytest.approx(1, abs=0.02)
        assert way["shards"]["disk_to_raw"] == pytest.approx(1, abs=0.06)  # ArrayRecord pads shards to 64 KiB
        for key in ("geotiff_deflate", "geotiff_deflate_bands", "shards_zstd", "shards_zlib"):
            assert way[key]["disk_to_raw"] < 0.9, key
        assert way["shards_numbers"]["disk_to_raw"] > 1.1


@pytest.mark.parametrize(("kind", "image", "label"), [("sen12ms", ("s1", "s2"), "lc"), ("flair1", ("img",), "msk")])
def test_every_way_reads_the_same_pixels(measured, kind, image, label):
    found = input_variants.ways_of(kind, measured[0] / kind, RECORDS)
    rgb = {"sen12ms": ("s2", [3, 2, 1]), "flair1": ("aerial", [0, 1, 2])}[kind]
    for number in range(RECORDS):
        drawn = input_variants.KINDS[kind].draw(number)
        stored = [to_storage(S1, drawn[name]) if name == "s1" else drawn[name] for name in image]
        for key in ("shards", "shards_tfds", *input_variants.VARIANTS):
            record = found[key].read(number)
            sensors = [name for name in ("s1", "s2", "aerial") if name in record]
            for name, expected in zip(sensors, stored, strict=True):
                np.testing.assert_array_equal(record[name], expected, err_msg=key)
                assert record[name].dtype == expected.dtype
            np.testing.assert_array_equal(record["label"], drawn[label][..., 0], err_msg=key)
        sensor, bands = rgb
        np.testing.assert_array_equal(found["shards_rgb"].read(number)[sensor], stored[-1][..., bands])
        for key in input_variants.GEOTIFFS:
            record = found[key].read(number)
            for name in image:
                np.testing.assert_array_equal(np.moveaxis(record[name], 0, 2), drawn[name], err_msg=key)
            np.testing.assert_array_equal(record[label], drawn[label][..., 0], err_msg=key)
        for key in ("torchgeo_style", "torchgeo_style_deflate"):
            record = found[key].read(number)
            assert (record["image"].dtype, record["mask"].dtype) == (np.float32, np.int64)
            whole = np.concatenate([drawn[name].astype(np.float32) for name in image], axis=2)
            np.testing.assert_array_equal(np.moveaxis(record["image"], 0, 2), whole, err_msg=key)
            np.testing.assert_array_equal(np.moveaxis(record["mask"], 0, 2), drawn[label], err_msg=key)


def test_records_differ():
    for kind in input_variants.KINDS.values():
        seen = {kind.draw(number)[name].tobytes() for number in range(RECORDS) for name in kind.images}
        assert len(seen) == RECORDS * len(kind.images)


def test_table_names_every_way(measured):
    text = input_benchmark.table(measured[1])
    for title in (*input_benchmark.TITLES.values(), *(kind.title for kind in input_variants.KINDS.values())):
        assert title in text
    assert "5,000 images/s need" in text


def test_cpu_seconds_are_of_workers_too():
    # A built-in: the worker need not import this module.
    worker = multiprocessing.get_context("spawn").Process(target=sum, args=(range(10**12),), daemon=True)
    own, every = time.process_time(), input_benchmark.cpu_seconds()
    worker.start()
    give_up = time.monotonic() + 60
    while (input_benchmark.cpu_seconds() - every) - (time.process_time() - own) < 0.3:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    worker.kill()
    worker.join()
    assert input_benchmark.cpu_seconds() - every == pytest.approx(time.process_time() - own, abs=0.05)
