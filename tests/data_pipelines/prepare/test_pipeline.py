import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
from downloads import EDGE, parts, path_of, write_geotiff

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema import locks, on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Extent

SPEC = datasets.DATASETS["sample"]
ROOT = pathlib.Path(__file__).parents[3]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(source, data_dir, spec=SPEC, workers=1, max_refused=0.2):
    return pipeline.write(spec, source, data_dir, workers=workers, max_refused=max_refused)


def test_statistics_count_every_pixel(source, tmp_path):
    folder = write(source, tmp_path / "data")
    statistics = json.loads((folder / "statistics.json").read_text())
    assert statistics["tile"] == EDGE
    assert {n: s["records"] for n, s in statistics["splits"].items()} == {"test": 3, "unlabelled": 4, "validation": 20}
    labels = np.concatenate([parts(n)["dfc"].ravel() for n in range(20)])
    expected = {str(label): int((labels == label).sum()) for label in range(1, 11)}
    assert statistics["splits"]["validation"]["class_pixels"] == expected
    assert statistics["splits"]["unlabelled"]["class_pixels"] == {}
    assert {split["off_legend_pixels"] for split in statistics["splits"].values()} == {0}
    assert not (folder / ".parts").exists()
    assert not on_disk.incomplete(folder).exists()


def test_statistics_of_bands_are_those_of_all_pixels(source, tmp_path):
    folder = write(source, tmp_path / "data")
    found = json.loads((folder / "statistics.json").read_text())["splits"]["validation"]["sensors"]
    stored = {
        "s1": np.rint(np.stack([parts(n)["s1"] for n in range(20)], 1).astype(np.float64) * 100),
        "s2": np.stack([parts(n)["s2"] for n in range(20)], 1).astype(np.float64),
    }
    for sensor, values in stored.items():
        values = values.reshape(len(values), -1)
        assert found[sensor]["pixels"] == values.shape[1] == 20 * EDGE**2
        np.testing.assert_allclose(found[sensor]["mean"], values.mean(1), rtol=1e-12)
        np.testing.assert_allclose(found[sensor]["std"], values.std(1), rtol=1e-9)
        np.testing.assert_array_equal(found[sensor]["min"], values.min(1))
        np.testing.assert_array_equal(found[sensor]["max"], values.max(1))


def test_any_number_of_workers_writes_the_same_bytes(source, tmp_path):
    assert contents(write(source, tmp_path / "one")) == contents(write(source, tmp_path / "two", workers=2))


KILLED_AT = """
import dataclasses, os, pathlib, signal, sys
from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline
source, data_dir, reads = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
spec = datasets.DATASETS["sample"]
done = []
def read(item):
    done.append(item)
    if len(done) > reads:
        os.kill(os.getpid(), signal.SIGKILL)
    return spec.read(item)
pipeline.write(dataclasses.replace(spec, read=read), source, data_dir, workers=1, max_refused=0.2)
"""


def test_killed_and_started_again_ends_in_the_same_bytes(source, tmp_path):
    whole = contents(write(source, tmp_path / "whole"))
    data_dir = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED_AT, str(source), str(data_dir), "26"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = on_disk.folder_of(SPEC.name, SPEC.version, data_dir)
    finished = list(on_disk.incomplete(folder).glob("*.array_record-*"))
    assert len(finished) == 2  # the rest of validation was under way
    assert not folder.exists()
    before = {path.name: path.stat().st_ino for path in finished}
    write(source, data_dir)
    assert contents(folder) == whole
    assert {name: (folder / name).stat().st_ino for name in before} == before  # not written again


def test_refused_records_are_listed_and_the_rest_goes_on(source, tmp_path):
    broken = path_of(source, "ROIs0000_validation", "s2", 3)
    write_geotiff(broken, parts(3)["s2"][:12])
    for part, values in parts(4, edge=8).items():
        write_geotiff(path_of(source, "ROIs0000_validation", part, 4), values)
    folder = write(source, tmp_path / "data")
    with (folder / "refused.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["ROIs0000_validation_0_p3", "ROIs0000_validation_0_p4"]
    assert rows[0]["file"] == str(broken)
    assert rows[0]["reason"] == "12 bands, expected 13"
    assert rows[1]["reason"].startswith("8 pixels wide, expected 16")
    assert json.loads((folder / "statistics.json").read_text())["splits"]["validation"]["records"] == 18


def test_too_many_refused_stops_and_goes_on_once_they_are_put_right(source, tmp_path):
    whole = contents(write(source, tmp_path / "whole"))
    for patch in range(6):
        write_geotiff(path_of(source, "ROIs0000_validation", "dfc", patch), parts(patch)["dfc"] + np.uint8(90))
    data_dir = tmp_path / "data"
    with pytest.raises(InputError, match=r"refused\.csv: 6 of 27 records .* --max_refused=0\.2 .*label"):
        write(source, data_dir)
    folder = on_disk.folder_of(SPEC.name, SPEC.version, data_dir)
    assert len((on_disk.incomplete(folder) / "refused.csv").read_text().splitlines()) == 7
    assert not folder.exists()
    for patch in range(6):
        write_geotiff(path_of(source, "ROIs0000_validation", "dfc", patch), parts(patch)["dfc"])
    write(source, data_dir)
    assert contents(folder) == whole


def test_all_refused_stops_before_any_shard(source, tmp_path):
    for path in source.rglob("*_s1_*.tif"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"6 of 27 records are refused so far.*cannot be read: an empty file"):
        write(source, tmp_path)


def test_a_split_of_which_nothing_is_left_stops(source, tmp_path):
    for path in source.rglob("ROIs0000_test_s1_*.tif"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="every record of split test was refused"):
        write(source, tmp_path)


def test_the_size_is_that_of_most_records_and_can_be_put_right(source, tmp_path):
    whole = contents(write(source, tmp_path / "whole"))
    small = next(iter(SPEC.index([source]).values()))[0].files
    saved = {path: path.read_bytes() for path in small.values()}
    number = int(small["s1"].stem.rpartition("_p")[2])
    for part, values in parts(number, edge=8).items():
        for path in small.values():
            if f"_{part}_" in path.name:
                write_geotiff(path, values)
    with pytest.raises(InputError, match=r"1 of 27 records .*8 pixels wide, expected 16"):
        write(source, tmp_path / "data", max_refused=0.0)
    for path, content in saved.items():
        path.write_bytes(content)
    assert contents(write(source, tmp_path / "data", max_refused=0.0)) == whole


def archive(source, damaged) -> None:
    """Moves the validation patches into a zip whose members of some patches fail their checksum."""
    folder = source / "ROIs0000_validation"
    with zipfile.ZipFile(source / "validation.zip", "w") as file:
        for path in sorted(folder.rglob("*.tif")):
            file.write(path, path.relative_to(source))
    content = bytearray((source / "validation.zip").read_bytes())
    for patch in damaged:
        for path in folder.rglob(f"*_p{patch}.tif"):
            content[content.index(path.read_bytes()) + 20] ^= 1
    (source / "validation.zip").write_bytes(content)
    shutil.rmtree(folder)


DFC = datasets.DATASETS["dfc2020"]


def test_what_an_archive_could_not_yield_is_refused_by_name_and_counted(source, tmp_path):
    whole = contents(write(source, tmp_path / "whole", DFC))
    kept = source / "ROIs0000_validation"
    shutil.copytree(kept, tmp_path / "kept")
    archive(source, damaged=[3, 4])
    with pytest.raises(InputError, match=r"2 of 23 records are refused so far.*validation\.zip"):
        write(source, tmp_path / "data", DFC, max_refused=0.05)
    with (on_disk.incomplete(tmp_path / "data" / "dfc2020" / "1.0.0") / "refused.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"ROIs0000_validation_0_p3", "ROIs0000_validation_0_p4"}
    assert all("CRC" in row["reason"] or "checksum" in row["reason"] for row in rows.values()), rows
    # Downloaded again, the same command goes on.
    shutil.copytree(tmp_path / "kept", kept)
    archive(source, damaged=[])
    assert contents(write(source, tmp_path / "data", DFC, max_refused=0.05)) == whole


def test_records_tell_where_they_come_from(source, tmp_path):
    """The same from a folder, from an archive in it, and when the source is spelled in another way."""
    folder = write(source, tmp_path / "data", DFC)
    origins = on_disk.read_records(folder).origins
    name = "ROIs0000_validation/s1_0/ROIs0000_validation_s1_0_p4.tif"
    square = Extent("EPSG:32632", (500_000.0, 5_000_000.0 - 10 * EDGE, 500_000.0 + 10 * EDGE, 5_000_000.0))
    assert origins["ROIs0000_validation_0_p4"] == on_disk.Origin("scene_1", name, square)
    assert len(origins) == 23
    archive(source, damaged=[])
    other = source.parent / "elsewhere" / ".." / source.name
    (source.parent / "elsewhere").mkdir()
    again = write(other, tmp_path / "again", DFC)
    assert (again / "records.csv").read_bytes() == (folder / "records.csv").read_bytes()


@pytest.mark.parametrize("part", ["s1", "s2", "dfc"])
def test_another_pixel_is_another_split(source, tmp_path, part):
    """A run that was trained on the one does not go on, and is not scored, on the other."""
    write(source, tmp_path / "data", DFC)
    path = source / f"ROIs0000_validation/{part}_0/ROIs0000_validation_{part}_0_p4.tif"
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[0, 0, 0] += 1
        file.write(pixels)
    write(source, tmp_path / "again", DFC)
    before, now = (open_dataset(tmp_path / where, DFC.name) for where in ("data", "again"))
    differs = {split for split in before.splits if before.split_id(split) != now.split_id(split)}
    assert differs == {"validation"} and before.splits == now.splits
    ids = before.source("validation").ids
    assert (
        ids == now.source("validation").ids
        and sum(
            before.split_id(f"validation[{k}:{k + 1}]") != now.split_id(f"validation[{k}:{k + 1}]")
            for k in range(len(ids))
        )
        == 1
    )


def test_two_preparations_of_one_data_set_at_a_time(source, tmp_path):
    folder = on_disk.incomplete(on_disk.folder_of(SPEC.name, SPEC.version, tmp_path))
    with (
        locks.held(folder / ".parts" / "lock", folder, doing="preparing"),
        pytest.raises(InputError, match=r"incomplete: another process is preparing it \(.*give another --data_dir"),
    ):
        write(source, tmp_path)
    write(source, tmp_path)


def test_a_folder_that_cannot_be_listed_is_no_empty_one(source, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("s2_0"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"s2_0: Permission denied; expected a folder that can be listed"):
        write(source, tmp_path)


def test_an_unfinished_preparation_is_not_mixed_with_other_files(source, tmp_path):
    folder = on_disk.incomplete(on_disk.folder_of(SPEC.name, SPEC.version, tmp_path))
    (folder / ".parts").mkdir(parents=True)
    plan = {"schema_version": 3, "source": "/elsewhere", "fingerprint": "", "options": {}, "records": "", "tile": EDGE}
    (folder / ".parts" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"unfinished preparation from /elsewhere; expected the same --source"):
        write(source, tmp_path)


@pytest.mark.parametrize("name", ["plan.json", "sample-test.array_record-00000-of-00001.json"])
@pytest.mark.parametrize(("stated", "message"), [(9, ", and this lcjax reads 3"), (1, "; expected 3; delete th")])
def test_an_unfinished_preparation_of_another_version_is_refused(source, tmp_path, monkeypatch, name, stated, message):
    def fail(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(pipeline, "finalize", fail)
        write(source, tmp_path)
    path = on_disk.incomplete(on_disk.folder_of(SPEC.name, SPEC.version, tmp_path)) / ".parts" / name
    path.write_text(path.read_text().replace('"schema_version": 3', f'"schema_version": {stated}'))
    with pytest.raises(InputError, match=f"{name}: schema_version {stated}{message}"):
        write(source, tmp_path)


def test_nothing_found_shows_the_layout(tmp_path):
    with pytest.raises(InputError, match=r"no file of sample found; expected what python -m"):
        write(tmp_path, tmp_path / "data")
    assert not list((tmp_path / "data" / "sample").iterdir())  # nothing was begun


def test_a_folder_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Not a directory; expected a --data_dir that can be written"):
        write(source, tmp_path / "file" / "data")


def _dies(item):
    os._exit(9)


FULL = """
import pathlib, resource, sys
from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
pipeline.write(datasets.DATASETS["sample"], pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def test_a_disk_that_is_full_in_the_middle_of_a_shard(source, tmp_path):
    """A limit on the size of files stands for it: the writer fails in the same place."""
    whole = contents(write(source, tmp_path / "whole"))
    command = [sys.executable, "-c", FULL, str(source), str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert re.search(r"InputError: .*array_record-0000\d-of-0000\d: .*File too large; expected .* has room", last), last
    assert contents(write(source, tmp_path / "data")) == whole


def test_a_worker_that_is_ended_from_outside(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_tile", lambda *_: EDGE)
    with pytest.raises(InputError, match="fewer --workers"):
        write(source, tmp_path, dataclasses.replace(SPEC, read=_dies), workers=2)


@pytest.mark.parametrize(
    ("records", "count", "largest"), [(1, 1, 1), (16, 1, 16), (17, 2, 16), (5128, 64, 81), (180_662, 353, 512)]
)
def test_shards_depend_on_the_records_alone(records, count, largest):
    chunks = pipeline._chunks(list(range(records)))
    assert (len(chunks), max(map(len, chunks))) == (count, largest)
    assert [item for chunk in chunks for item in chunk] == list(range(records))
