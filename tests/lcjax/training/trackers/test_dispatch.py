"""Trackers are told of a run in threads of their own: what they hold twice, lose or break touches nothing else."""

import json
import threading
from typing import ClassVar

import pytest

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.parallel import launcher
from lcjax.training.trackers import dispatch, registry
from lcjax.training.trackers.interface import Picture, Run, Tracker


class Kept(Tracker):
    """Keeps what it is told, by the id of a run, as a server would."""

    server: ClassVar[dict] = {}
    id = "its id"

    def __init__(self, run):
        self._rows = self.server.setdefault(run.workdir, [])
        self.asked = run.id

    def scalars(self, step, values):
        self._rows.append((step, dict(values)))

    def picture(self, step, picture):
        self._rows.append((step, picture.png))

    def close(self, *, ended):
        self._rows.append(("ended", ended))


class Unreachable(Tracker):
    """As a server that is not there."""

    def __init__(self, run):
        raise ConnectionError("no route to host\nand so on")

    def scalars(self, step, values):
        raise AssertionError


class Failing(Kept):
    """Answers for a while."""

    def scalars(self, step, values):
        if step > 2:
            raise TimeoutError("gone")
        super().scalars(step, values)


class Hanging(Kept):
    """Takes rows as long as it is let."""

    leave = threading.Event()

    def scalars(self, step, values):
        self.leave.wait(20)


def follow(tracker, folder, rows, *, history=(), step=0, ended=True):
    """Follows a start of a run from a step on."""
    trackers = dispatch.Trackers({"kept": tracker}, Run(folder, {}, "OA", step), history)
    for number, values in rows:
        trackers.write(number, "train", values, {})
    trackers.close(ended=ended)


@pytest.fixture(autouse=True)
def _servers_forget():
    Kept.server = {}
    Hanging.leave.clear()
    yield
    Hanging.leave.set()


def test_rows_rates_and_pictures_come_in_order(tmp_path):
    drawn = []
    picture = Picture("validation/x", lambda: drawn.append(1) or b"png")
    trackers = dispatch.Trackers({"a": Kept, "b": Kept}, Run(tmp_path, {}, "OA"), [])
    trackers.write(1, "train", {"loss": 2.0}, {"speed": 5.0})
    trackers.write(1, "validation", {"OA": 0.5, "IoU/x": float("nan")}, {}, [picture])
    trackers.close(ended=True)
    rows = Kept.server[tmp_path]
    assert sorted(map(repr, rows)) == sorted(
        2
        * [
            repr((1, {"train/loss": 2.0, "clock/speed": 5.0})),
            repr((1, {"validation/OA": 0.5})),
            repr((1, b"png")),
            repr(("ended", True)),
        ]
    )
    assert drawn == [1]  # once for both


def test_a_run_that_goes_on_tells_no_step_twice(tmp_path):
    """Killed after step 4 with the checkpoint of step 2, it computes 3 and 4 again."""
    follow(Kept, tmp_path, [(step, {"loss": 1.0 * step}) for step in (1, 2, 3, 4)], ended=False)
    history = [{"step": step, "split": "train", "loss": 1.0 * step} for step in (1, 2)]
    follow(Kept, tmp_path, [(step, {"loss": 1.0 * step}) for step in (3, 4, 5)], history=history, step=2)
    told = [step for step, _ in Kept.server[tmp_path]]
    assert told == [1, 2, 3, 4, "ended", 5, "ended"]


def test_what_a_tracker_has_missed_it_is_told_at_the_next_start(tmp_path, capsys):
    follow(Failing, tmp_path, [(step, {"loss": 1.0}) for step in (1, 2, 3, 4)])
    assert capsys.readouterr().out == (
        "warning: tracker kept: TimeoutError: gone; the run goes on without it, metrics.jsonl has all; the next start "
        "of the run tells it what it has missed\n"
    )
    history = [{"step": step, "split": "train", "loss": 1.0, "x": None} for step in (1, 2, 3, 4)]
    follow(Kept, tmp_path, [(5, {"loss": 1.0})], history=history, step=4)
    assert [row for row in Kept.server[tmp_path] if row[0] != "ended"] == [
        (step, {"train/loss": 1.0}) for step in (1, 2, 3, 4, 5)
    ]


def test_a_tracker_that_begins_anew_is_told_the_whole_run(tmp_path):
    class Anew(Kept):
        begins_anew = True

    follow(Kept, tmp_path, [(1, {"loss": 1.0})])
    follow(Anew, tmp_path, [(2, {"loss": 1.0})], history=[{"step": 1, "split": "train", "loss": 1.0}], step=1)
    assert [step for step, _ in Kept.server[tmp_path]] == [1, "ended", 1, 2, "ended"]


def test_one_that_goes_from_a_record_of_its_own_to_a_common_one_is_told_the_whole_run(tmp_path):
    """As from offline to online: nobody may have sent what was written offline."""

    class Anew(Kept):
        begins_anew = True

    follow(Anew, tmp_path, [(1, {"loss": 1.0})])
    history = [{"step": 1, "split": "train", "loss": 1.0}]
    follow(Kept, tmp_path, [(2, {"loss": 1.0})], history=history, step=1)
    follow(Kept, tmp_path, [(3, {"loss": 1.0})], history=[*history, history[0] | {"step": 2}], step=2)
    assert [step for step, _ in Kept.server[tmp_path]] == [1, "ended", 1, 2, "ended", 3, "ended"]


def test_who_is_behind(tmp_path):
    follow(Kept, tmp_path, [(2, {"loss": 1.0})])
    rows = [{"step": step, "split": "train", "loss": 1.0} for step in (1, 2, 3)]
    assert dispatch.behind({"kept": Kept, "other": Kept}, tmp_path, rows[:2]) == {"other": Kept}
    assert dispatch.behind({"kept": Kept}, tmp_path, rows) == {"kept": Kept}

    class Rewinding(Kept):
        rewinds = True
        has_record = classmethod(lambda cls, folder: (folder / "record").exists())

    assert dispatch.behind({"new": Rewinding}, tmp_path, rows)
    (tmp_path / "record").touch()
    assert not dispatch.behind({"new": Rewinding}, tmp_path, rows)


def test_one_that_rewinds_is_told_as_it_comes_and_nothing_is_noted(tmp_path):
    class Rewinding(Kept):
        rewinds = True

    for _ in range(2):
        follow(Rewinding, tmp_path, [(1, {"loss": 1.0})], history=[{"step": 0, "split": "train", "loss": 1.0}])
    assert [step for step, _ in Kept.server[tmp_path]] == [1, "ended", 1, "ended"]
    assert not (tmp_path / dispatch.FILE).exists()


def test_one_that_rewinds_and_has_no_record_is_told_the_whole_run(tmp_path):
    class Anew(Kept):
        rewinds, begins_anew = True, True

    follow(Anew, tmp_path, [(2, {"loss": 1.0})], history=[{"step": 1, "split": "train", "loss": 1.0}], step=1)
    assert [step for step, _ in Kept.server[tmp_path]] == [1, 2, "ended"]
    assert not (tmp_path / dispatch.FILE).exists()


def test_one_that_is_not_there_is_told_once(tmp_path, capsys):
    follow(Unreachable, tmp_path, [(step, {"loss": 1.0}) for step in range(50)])
    out = capsys.readouterr().out
    assert out.count("warning") == 1 and "tracker kept: ConnectionError: no route to host; the run goes on" in out
    assert not launcher.waits()  # what its library does at the end of the program


def test_the_end_of_the_program_waits_for_those_that_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "wait_for_nobody", None)
    follow(Kept, tmp_path, [(1, {"loss": 1.0})])


def test_one_that_hangs_is_not_waited_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dispatch, "PATIENCE", 0.05)
    follow(Hanging, tmp_path, [(1, {"loss": 1.0})])
    assert "has not taken everything within 0 s; the run goes on without it" in capsys.readouterr().out


def test_one_that_does_not_keep_up_is_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dispatch, "PATIENCE", 0.05)
    monkeypatch.setattr(dispatch, "_MOST_WAITING", 3)
    follow(Hanging, tmp_path, [(step, {"loss": 1.0}) for step in range(9)])
    out = capsys.readouterr().out
    assert out.count("warning") == 1 and "is 3 rows behind" in out


def test_what_trackers_hold_is_read_with_care(tmp_path):
    (tmp_path / dispatch.FILE).write_text(json.dumps({"schema_version": 2, "trackers": {"kept": {"id": 5}}}))
    with pytest.raises(InputError, match=r"trackers\.json: trackers\['kept'\]\.id: .* delete it"):
        follow(Kept, tmp_path, [])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("tensorbord",), "did you mean 'tensorboard'?.*expected one of tensorboard, wandb, mlflow"),
        (("os:getcwd",), "--allow_plugins=os"),
        (("json:dumps",), "expected a subclass of Tracker"),
    ],
)
def test_names_that_are_no_trackers(names, said, monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", {"json"})
    with pytest.raises(InputError, match=said):
        registry.named({"trackers": names})


def test_several_names_of_one_text_and_one_of_a_package(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", set())
    plugins.allow_named_in({"trackers": ["tensorboard", f"{__name__}:Kept"]})
    assert list(registry.named({"trackers": ("tensorboard", f"{__name__}:Kept")}).values())[1] is Kept
    assert list(registry.named({"trackers": ("tensorboard, tensorboard",)})) == ["tensorboard"]
