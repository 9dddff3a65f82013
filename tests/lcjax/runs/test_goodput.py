"""Goodput of runs that were stopped and went on, against numbers worked out by hand."""

import json
import multiprocessing
import os
import signal

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.runs import goodput


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def start(attempt, started, first_step):
    return {"attempt": attempt, "schema_version": 2, "started": started, "first_step": first_step}


def seen(attempt, at, reached, **seconds):
    return {"attempt": attempt, "seen": at, "step": reached, "seconds": seconds}


# 100 s in steps of attempt 1, of which it did 50; the second began at step 30, so 20 of them (40 s) were lost. The
# second did 70 steps in 140 s. 30 s lie between the two.
TWICE = (
    start(1, 1000.0, 0),
    seen(1, 1060.0, 20, start=5.0, compile=10.0, data=2.0, step=40.0),
    seen(1, 1125.0, 50, start=5.0, compile=10.0, data=4.0, checkpoint=3.0, step=100.0),
    start(2, 1155.0, 30),
    seen(2, 1330.0, 100, start=6.0, compile=9.0, data=5.0, evaluate=8.0, checkpoint=2.0, step=140.0),
)


def test_a_run_that_was_stopped_once(tmp_path):
    found = goodput.summary(write(tmp_path / goodput.FILE, *TWICE))
    assert found.wall == 125 + 175
    assert found.seconds == {
        "start": 11.0,
        "compile": 19.0,
        "data": 9.0,
        "evaluate": 8.0,
        "checkpoint": 5.0,
        "step": 240.0,
    }
    assert found.again == pytest.approx(40)
    assert found.kept == pytest.approx(200)
    assert found.goodput == pytest.approx(200 / 300)
    assert (found.restarts, found.between) == (1, 30)
    assert found.other == pytest.approx(300 - 292)
    assert goodput.line(found) == (
        "goodput 0.67: steps 0:03:20, compile 0:00:19, data 0:00:09, evaluate 0:00:08, checkpoint 0:00:05, "
        "start 0:00:11, other 0:00:08, computed again 0:00:40; 1 restart, 0:00:30 between attempts"
    )


def test_a_run_that_was_never_stopped(tmp_path):
    path = write(tmp_path / goodput.FILE, start(1, 50.0, 0), seen(1, 3650.0, 10, compile=360.0, step=3240.0))
    found = goodput.summary(path)
    assert (found.goodput, found.again, found.restarts, found.between) == (0.9, 0, 0, 0)
    assert goodput.line(found) == "goodput 0.90: steps 0:54:00, compile 0:06:00; 0 restarts"


def test_an_attempt_that_went_back_behind_the_one_before_costs_both(tmp_path):
    """10 steps of a second each: 0 to 10, 8 to 18, and then from 4, as where the newest checkpoints were lost."""
    path = write(
        tmp_path / goodput.FILE,
        *(start(1, 0.0, 0), seen(1, 10.0, 10, step=10.0)),
        *(start(2, 10.0, 8), seen(2, 20.0, 18, step=10.0)),
        *(start(3, 20.0, 4), seen(3, 36.0, 20, step=16.0)),
    )
    found = goodput.summary(path)
    assert found.again == pytest.approx(6 + 10)
    assert found.kept == pytest.approx(20)  # each step once
    assert found.goodput == pytest.approx(20 / 36)


def test_steps_of_other_speeds_are_lost_by_their_own_attempts_share(tmp_path):
    path = write(
        tmp_path / goodput.FILE,
        *(start(1, 0.0, 0), seen(1, 40.0, 4, step=40.0)),  # 10 s a step; 1 of 4 lost
        *(start(2, 40.0, 3), seen(2, 42.0, 5, step=2.0)),
    )
    assert goodput.summary(path).again == pytest.approx(10)


def test_attempts_that_got_nowhere(tmp_path):
    """One killed before its first record, one before it had done a step."""
    path = write(
        tmp_path / goodput.FILE,
        start(1, 0.0, 0),
        *(start(2, 100.0, 0), seen(2, 130.0, 0, start=20.0, compile=9.0, step=1.0)),
        *(start(3, 130.0, 0), seen(3, 160.0, 5, start=10.0, step=20.0)),
    )
    found = goodput.summary(path)
    assert (found.wall, found.between, found.restarts) == (60, 100, 2)
    assert found.again == pytest.approx(1)
    assert found.goodput == pytest.approx(20 / 60)


def test_half_a_line_is_ignored_and_the_next_attempt_begins_a_line_of_its_own(tmp_path, monkeypatch):
    path = write(tmp_path / goodput.FILE, *TWICE[:3])
    whole = goodput.summary(path)
    with path.open("a") as file:
        file.write('{"attempt": 1, "seen": 1199.0, "st')
    assert goodput.summary(path) == whole
    monkeypatch.setattr(goodput.time, "time", lambda: 1330.0)
    monkeypatch.setattr(goodput.time, "perf_counter", lambda: 5.0)
    attempt = goodput.Attempt(path, started=1155.0, first_step=30)
    attempt.seen(100, TWICE[-1]["seconds"])
    assert goodput.summary(path) == goodput.summary(write(tmp_path / "as_if_whole.jsonl", *TWICE))
    assert len(path.read_text().splitlines()) == 6


def test_a_clock_that_is_set_back_takes_nothing_away(tmp_path, monkeypatch):
    clock = {"time": 1060.0, "perf_counter": 5.0}
    for name in clock:
        monkeypatch.setattr(goodput.time, name, lambda name=name: clock[name])
    attempt = goodput.Attempt(tmp_path / goodput.FILE, started=1000.0, first_step=0)
    clock |= {"time": 10.0, "perf_counter": 45.0}
    attempt.seen(20, {"step": 40.0})
    assert goodput.summary(tmp_path / goodput.FILE).wall == 100.0
    # An earlier one that was written by the clock alone, and one that it was set back before.
    again = write(tmp_path / "again.jsonl", start(1, 1000.0, 0), seen(1, 10.0, 20, step=40.0), start(2, 5.0, 20))
    total = goodput.summary(again)
    assert (total.wall, total.between, total.goodput) == (40.0, 0.0, 1.0)


def test_what_an_attempt_writes(tmp_path, monkeypatch):
    path = tmp_path / goodput.FILE
    monkeypatch.setattr(goodput.time, "time", lambda: 1060.0)
    monkeypatch.setattr(goodput.time, "perf_counter", lambda: 5.0)
    goodput.Attempt(path, started=1000.0, first_step=0).seen(20, {"step": 40.0})
    goodput.Attempt(path, started=1100.0, first_step=20)
    assert [json.loads(row) for row in path.read_text().splitlines()] == [
        start(1, 1000.0, 0),
        seen(1, 1060.0, 20, step=40.0),
        start(2, 1100.0, 20),
    ]


def _write_and_die(path):
    attempt = goodput.Attempt(path, started=0.0, first_step=0)
    attempt.seen(1, {"step": 1.0})
    os.kill(os.getpid(), signal.SIGKILL)


def test_records_are_there_after_a_kill(tmp_path):
    path = tmp_path / goodput.FILE
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(("version", "words"), [(3, "schema_version 3, and this lcjax reads 2"), (None, "no schema_v")])
def test_attempts_of_another_version_are_refused(tmp_path, version, words):
    first, *rest = TWICE
    path = write(tmp_path / goodput.FILE, first | {"schema_version": version}, *rest)
    with pytest.raises(InputError, match=rf"^{path}, line 1: {words}"):
        goodput.summary(path)


def test_no_attempt_at_all(tmp_path):
    with pytest.raises(InputError, match=r"attempts\.jsonl: no such file; expected the attempts\.jsonl of a workdir"):
        goodput.summary(tmp_path / goodput.FILE)
    found = goodput.summary(write(tmp_path / goodput.FILE))
    assert (found.goodput, found.restarts) == (0, 0)
