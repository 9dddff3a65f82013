"""`prepare`, killed at random moments and started again with the same command, ends in the same bytes."""

import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WHEN = (0.1, 0.8)  # of the time that an undisturbed run takes, the first and coldest one


def command(source: pathlib.Path, data_dir: pathlib.Path) -> list[str]:
    flags = ["--dataset=dfc2020", f"--source={source}", f"--data_dir={data_dir}", "--workers=2"]
    return [sys.executable, "launch.py", "prepare", *flags]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def downloads(source) -> pathlib.Path:
    """Files and an archive, as people have them."""
    test = source / "ROIs0000_test"
    with zipfile.ZipFile(source / "test.zip", "w") as archive:
        for path in sorted(test.rglob("*.tif")):
            archive.write(path, path.relative_to(source))
    shutil.rmtree(test)
    return source


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(downloads, tmp_path, kills):
    start = time.monotonic()
    subprocess.run(command(downloads, tmp_path / "whole"), cwd=ROOT, check=True, capture_output=True)
    seconds = time.monotonic() - start
    whole = contents(tmp_path / "whole")
    assert {"dataset_info.json", "records.csv", "contact_sheet.png"} <= {pathlib.Path(name).name for name in whole}

    moments, killed = random.Random(kills), 0
    data_dir = tmp_path / "killed"
    for _ in range(kills):
        run = subprocess.Popen(
            command(downloads, data_dir), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            run.wait(seconds * moments.uniform(*WHEN))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        if (data_dir / "dfc2020" / "1.0.0").exists():  # done in spite of it: begin anew
            assert (data_dir / "dfc2020" / "1.0.0" / "dataset_info.json").exists()
            finished = subprocess.run(command(downloads, data_dir), cwd=ROOT, capture_output=True)
            assert finished.returncode == 0, finished.stderr.decode()
            assert contents(data_dir) == whole
            shutil.rmtree(data_dir)
    assert killed
    subprocess.run(command(downloads, data_dir), cwd=ROOT, check=True, capture_output=True)
    assert contents(data_dir) == whole
