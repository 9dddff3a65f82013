"""What may happen to a run: asked to stop, killed, damaged or full storage, another config. Nothing is lost."""

import pathlib
import shutil
import signal
import subprocess
import sys
import time

import launched
import numpy as np
import pytest
from networks import small
from test_loop import same_parameters

from data_pipelines.schema.errors import InputError
from lcjax.cli import main
from lcjax.configs import dfc2020
from lcjax.engine import restore
from lcjax.runs import checksums, goodput
from lcjax.training.run import train

BUCKETS = "buckets are not opened; mount it and name the folder, see docs/launching.md"


def same_runs(one: pathlib.Path, other: pathlib.Path) -> None:
    for kind in ("last", "best"):
        same_parameters(one, other, kind)
    assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory) -> pathlib.Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    launched.succeed(launched.training(folder, data_dir))
    return folder


def test_sigterm_saves_and_ends_with_75(whole, data_dir, tmp_path):
    arguments = launched.training(tmp_path / "run", data_dir, save_every="100 steps")
    for _ in range(2):
        (process,) = launched.start(arguments)
        time.sleep(0.1)
        while "step 3/12" not in (line := process.stdout.readline()) and "goes on" not in line:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        ((code, said, cried),) = launched.finish([process])
        if code == 0:  # it was at its last step already
            break
        assert (code, cried) == (75, "")
        assert "of 12, which is saved; the same command goes on" in said
    launched.succeed(arguments)
    same_runs(whole, tmp_path / "run")
    assert "already ended at step 12" in launched.succeed(arguments)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole, data_dir, tmp_path):
    run = tmp_path / "run"
    arguments = launched.training(run, data_dir)
    launched.interrupted(arguments, 6, signal.SIGKILL)  # at once, when the name is there
    last = launched.saved(run)
    folder = run / "checkpoints" / "last" / str(last)
    largest = max((folder / "model").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    ((code, _, cried),) = launched.run(["evaluate", f"--workdir={run}", "--checkpoint=last"])
    assert code == 2 and f"{folder} is damaged: {largest.relative_to(folder)}" in cried and cried.count("\n") == 1
    said = launched.succeed(arguments)
    assert f"warning: {folder} is damaged: {largest.relative_to(folder)}" in said
    before = int(said.split("goes on from step ")[1].split()[0])
    assert 0 < before < last
    same_runs(whole, run)
    spent = goodput.summary(run / goodput.FILE)
    assert spent.restarts == 1 and 0 < spent.again < spent.seconds["step"]


def test_where_every_checkpoint_is_damaged_nothing_is_deleted(data_dir, tmp_path):
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir, steps=4)
    run = tmp_path / "run"
    train(config, run)
    noted = list(run.glob("checkpoints/last/*/checksums.json"))
    assert len(noted) == 2
    for path in noted:
        path.rename(tmp_path / path.parent.name)
    with pytest.raises(InputError, match=r"last/4 is damaged: checksums.json is missing, and so is every other in"):
        train(config, run)
    with pytest.raises(InputError, match=r"last/4 is damaged: .* take --checkpoint=best, or put back what it was"):
        restore.restore(run, "last")
    assert len(list(run.glob("checkpoints/last/*/model"))) == 2 and restore.restore(run, "best")
    for path in noted:
        (tmp_path / path.parent.name).rename(path)
    train(config, run)
    assert restore.restore(run, "last").step == 4


def test_what_is_said_to_be_kept_when_it_diverges_is_kept(data_dir, tmp_path, monkeypatch):
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir, steps=4)
    config.save_every, config.optimizer.learning_rate = "1 steps", 1e30
    note = checksums.write

    def slow(*words, **how):
        time.sleep(1)
        note(*words, **how)

    monkeypatch.setattr(checksums, "write", slow)
    with pytest.raises(FloatingPointError, match=r"the checkpoint of step \d in .* is kept") as raised:
        train(config, tmp_path / "run")
    assert f"the checkpoint of step {launched.saved(tmp_path / 'run')} in" in str(raised.value)


def test_checksums_are_of_all_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123456789")
    (tmp_path / "y").write_bytes(b"")
    (tmp_path / "changes").write_bytes(b"")
    assert checksums.damage(tmp_path) == "checksums.json is missing"
    checksums.write(tmp_path, checksums.below(tmp_path, exclude=("changes",)))
    (tmp_path / "changes").write_bytes(b"1")
    # The check value of CRC-32 that its definitions give.
    assert '"a/x": [\n   9,\n   3421780262\n  ]' in (tmp_path / checksums.FILE).read_text()
    assert checksums.damage(tmp_path) == ""
    (tmp_path / "a" / "x").write_bytes(b"123456780")
    assert checksums.damage(tmp_path) == "a/x holds other bytes than were written"
    (tmp_path / "a" / "x").write_bytes(b"12345")
    assert checksums.damage(tmp_path) == "a/x holds 5 bytes, expected 9"
    (tmp_path / "a" / "x").unlink()
    assert checksums.damage(tmp_path) == "a/x is missing"
    noted = (tmp_path / checksums.FILE).read_text()
    assert noted.startswith('{\n "schema_version": 2,')
    (tmp_path / checksums.FILE).write_text(noted.replace("2", "3", 1))
    with pytest.raises(InputError, match=rf"^{tmp_path}/{checksums.FILE}: schema_version 3, and this lcjax reads 2"):
        checksums.damage(tmp_path)
    (tmp_path / checksums.FILE).write_text("{")
    assert "cannot be read" in checksums.damage(tmp_path)


def test_a_full_disk_is_found_before_anything_is_written(data_dir, tmp_path, monkeypatch):
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir)
    usage = shutil.disk_usage(tmp_path)
    free = iter([usage.free] * 3)  # room for the trial of the storage and two checkpoints, and no more
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=next(free, 1000)))
    with pytest.raises(InputError, match=r"last: the disk is full: 0\.0 MB are free.* the one of step \d is kept"):
        train(config, tmp_path / "run")
    kept = launched.saved(tmp_path / "run")
    assert kept > 0
    monkeypatch.undo()
    train(config, tmp_path / "run")
    assert launched.saved(tmp_path / "run") == 6


@pytest.mark.slow  # four processes, one after the other
def test_storage_that_takes_no_more_stops_the_run_and_keeps_what_was_good(whole, data_dir, tmp_path):
    """No file may grow beyond a limit."""
    run = tmp_path / "run"
    arguments = launched.training(run, data_dir)
    launched.interrupted(arguments, 4, signal.SIGKILL)
    kept = launched.saved(run)
    limit = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", limit, str(launched.ROOT / "launch.py"), *arguments]
    limited = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert limited.returncode == 2, limited.stderr
    # What writes in the background has its traces there, too.
    (line,) = [line for line in limited.stderr.splitlines() if line.startswith("lcjax train: ")]
    assert "a checkpoint cannot be written" in line and f"step {kept} is kept" in line
    assert launched.saved(run) == kept
    launched.succeed(arguments)
    same_runs(whole, run)


def test_another_config_goes_on_only_if_it_is_said(data_dir, tmp_path):
    run = tmp_path / "run"
    assert launched.interrupted(launched.training(run, data_dir), 2, signal.SIGTERM)[0][0] == 75
    other = launched.training(run, data_dir, **{"optimizer.weight_decay": 0.5})
    ((code, _, cried),) = launched.run(other)
    assert code == 2
    assert "holds a run of another config: optimizer.weight_decay (there 0.01, now 0.5)" in cried
    assert "--allow_other_config" in cried
    kept = (run / "config.json").read_bytes()
    ((code, _, cried),) = launched.run([*other, "--config.total=1 steps", "--allow_other_config"])
    assert code == 2 and f"config.total=1 steps: 1 steps, and the run in {run} has gone" in cried
    assert (run / "config.json").read_bytes() == kept
    said = launched.succeed([*other, "--allow_other_config"])
    assert (
        "warning: " in said and "optimizer.weight_decay (there 0.01, now 0.5)" in said and "goes on from step" in said
    )


def test_an_ended_run_is_left_as_it_is_or_made_longer(data_dir, tmp_path, capsys):
    run = tmp_path / "run"
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir, steps=2)
    train(config, run)
    before = (run / "config.json").read_bytes()
    config.optimizer.learning_rate = 0.0
    train(config, run, allow_other_config=True)
    assert f"{run}: already ended at step 2: all steps done" in capsys.readouterr().out
    assert (run / "config.json").read_bytes() == before
    config.total = "4 steps"
    shutil.rmtree(run / "checkpoints" / "best")
    train(config, run, allow_other_config=True)
    said = capsys.readouterr().out
    assert "goes on from step 2 of 4" in said and "ended at step 4 (all steps done)" in said
    assert launched.saved(run) == 4 and '"4 steps"' in (run / "config.json").read_text()
    # With a rate of 0 nothing became better than what was lost.
    assert "warning:" in said and "the best checkpoint was lost in a restart; the last is kept" in said
    assert restore.restore(run, "best").step == 4


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--workdir=gs://bucket/runs"],
        ["train", "--workdir", "gs://bucket/runs"],
        ["train", "--config.data_dir=s3://bucket/data"],
        ["predict", "--scene=s1=radar.tif,s2=gs://bucket/optical.tif", "--output=gs://bucket/map.tif"],
        ["prepare", "--source=s3://bucket/photos"],
    ],
)
def test_buckets_are_refused(words):
    with pytest.raises(InputError) as raised:
        main._parse(words[0], words[1:])
    assert str(raised.value) == f"{words[-1]}: {BUCKETS}"


def disturb(run: pathlib.Path, arguments: list[str], processes: int, kills: int) -> None:
    """Starts a run and ends one or all of its processes, so many times; then lets it come to the end.

    A third of the times anywhere in the start, else when a checkpoint or two have been written.
    """
    generator = np.random.default_rng(0)
    for _ in range(kills):
        started = launched.start(arguments, processes)
        checkpoints = generator.integers(3)
        launched.wait_until_saved(run, launched.saved(run) + 2 * checkpoints, started)
        time.sleep(generator.uniform(0, 0.5 if checkpoints else 10))
        chosen = [started, started[:1], started[-1:]][generator.integers(3)]
        number = [signal.SIGKILL, signal.SIGTERM][generator.integers(2)]
        for process in chosen:
            process.send_signal(number)
        ended = launched.finish(started, timeout=200)
        # None was done.
        assert {code for code, *_ in ended} <= {4, 75, -signal.SIGKILL, -signal.SIGTERM}, ended
    launched.succeed(arguments, processes)


def chaos(data_dir, tmp_path, processes: int, kills: int, **fields) -> None:
    long = {"total": f"{20 * kills} steps", "evaluate_every": f"{5 * kills} steps"} | fields
    runs = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed, disturbed = (launched.training(run, data_dir, **long) for run in runs)
    launched.succeed(undisturbed, processes)
    disturb(runs[1], disturbed, processes, kills)
    same_runs(*runs)
    for run in runs:
        summary = goodput.summary(run / goodput.FILE)
        print(run.name, goodput.line(summary))
    assert 1 <= summary.restarts <= kills  # not all come as far as to count as one


@pytest.mark.slow  # most of a minute, or more
def test_two_processes_killed_twice_end_bit_identical(data_dir, tmp_path):
    chaos(data_dir, tmp_path, 2, 2, **{"sampling.name": "rarity", "sampling.strength": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_twenty_times_it_ends_bit_identical(data_dir, tmp_path, processes):
    chaos(data_dir, tmp_path, processes, 20)
