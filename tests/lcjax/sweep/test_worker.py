"""Studies whose trials are a formula instead of a training: what is asked, told, pruned, resumed and written."""

import contextlib
import json
import math
import os
import signal
import sqlite3

import pytest

import lcjax
from data_pipelines.schema import locks
from data_pipelines.schema.errors import InputError
from lcjax.configs import base, registry
from lcjax.parallel import launcher
from lcjax.plotting import figures, studies
from lcjax.sweep import check, page, process, worker
from lcjax.sweep.process import Outcome

CONFIG = lcjax.config("dfc2020", model="unet", data="sample", tiny=True)
LINES = {
    "optimizer.learning_rate": "log 1e-5 1",
    "scaling": "choice sensor | standardised",
    "crop": "uniform 32 64 step 32",
}
EVALUATIONS = 4


DOT = figures.png(figures.new_figure(0.1, 0.1))


@pytest.fixture(autouse=True, scope="module")
def _without_pictures():
    """They take most of the time; test_study_page.py draws them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("history", "ways", "by_field", "parallel"):
            patch.setattr(studies, name, lambda *_: DOT)
        yield


def look(*_):
    return check.Found("mIoU_8", EVALUATIONS, False)


def quality(config) -> float:
    return math.exp(-((math.log10(config.optimizer.learning_rate) + 3) ** 2) / 2) * (
        0.9 if config.scaling == "sensor" else 1
    )


def train(folder, seen, stop):
    """A trial in place of a training: better the nearer the rate is to 1e-3, and diverging above 0.3."""
    config = registry.parse(str(folder / process.CONFIG))
    (folder / "checkpoints").mkdir(exist_ok=True)
    if config.optimizer.learning_rate > 0.3:
        return Outcome("failed", "diverged: step 3 is not finite", by_itself=True)
    scores = []
    for number in range(1, EVALUATIONS + 1):
        scores.append(quality(config) * number / EVALUATIONS)
        if seen(scores):
            return Outcome("pruned")
    return Outcome("done")


def fails_after(trials):
    """A trial that stops the worker as a fault of it would, once there are so many of them."""

    def run(place, seen, stop):
        return 1 // 0 if int(place.name) >= trials else train(place, seen, stop)

    return run


def sweep(folder, trials, runner=train, **how):
    how = {"config": CONFIG, "lines": LINES} | how
    config, lines = how.pop("config"), how.pop("lines")
    return worker.sweep(
        config, folder, lines, worker.Limits(trials, how.pop("hours", None)), runner=runner, look=look, **how
    )


def rows(folder) -> list[str]:
    """The table of trials, without the seconds they took."""
    return [",".join(line.split(",")[:-2]) for line in (folder / page.TABLE).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "study"
    best = sweep(folder, 14)
    return folder, best


def test_the_best_config_is_that_of_the_best_trial_and_no_worse_than_the_first(finished):
    folder, best = finished
    text = registry.parse(str(folder / worker.BEST))
    assert text.to_dict() == registry.parse(str(best.folder / process.CONFIG)).to_dict()
    wanted = CONFIG.copy_and_resolve_references()
    base.assign(wanted, best.drawn)
    wanted.data_dir = os.path.abspath(wanted.data_dir)
    assert text.to_dict() == wanted.to_dict() and text.augmentation.scale == CONFIG.augmentation.scale
    first = registry.parse(str(folder / "trials" / "0000" / process.CONFIG))
    assert first.optimizer.learning_rate == CONFIG.optimizer.learning_rate
    assert best.score == pytest.approx(quality(text)) and best.score >= quality(first)


def test_info_tells_of_a_study(finished, command):
    code, out, _ = command("info", str(finished[0]))
    assert code == 0 and "a study of trials" in out and "best.py, for `lcjax train" in out


def test_the_same_command_gives_the_same_trials(finished, tmp_path):
    folder, _ = finished
    sweep(tmp_path / "study", 14)
    assert rows(tmp_path / "study") == rows(folder)
    assert len({line.split(",")[4] for line in rows(folder)[1:]}) == 14  # no rate twice


def test_a_study_that_was_killed_ends_in_the_same_trials(finished, tmp_path):
    folder, _ = finished

    class Killed(BaseException):
        pass

    def dies(at):
        def run(place, seen, stop):
            if place.name == at:
                seen([quality(registry.parse(str(place / process.CONFIG))) / EVALUATIONS])
                raise Killed
            return train(place, seen, stop)

        return run

    again = tmp_path / "study"
    for at in ("0000", "0003", "0011"):
        with pytest.raises(Killed):
            sweep(again, 14, dies(at))
    sweep(again, 9)  # of which there are more already, and one is half done
    sweep(again, 14)
    assert rows(again) == rows(folder)


def test_a_score_that_is_to_be_low(finished, tmp_path):
    """The same study upside down."""

    def lower(folder, seen, stop):
        return train(folder, lambda scores: seen([-score for score in scores]), stop)

    found = lambda *_: check.Found("loss", EVALUATIONS, True)  # noqa: E731
    best = worker.sweep(CONFIG, tmp_path / "s", LINES, worker.Limits(14), runner=lower, look=found)
    assert best.score == -finished[1].score and best.drawn == finished[1].drawn
    upright = [line.replace(",-", ",").replace("loss", "mIoU_8") for line in rows(tmp_path / "s")]
    assert upright == rows(finished[0])


def test_trials_are_pruned_and_fail_and_the_rest_goes_on(finished):
    folder, best = finished
    states = [line.split(",")[1] for line in rows(folder)[1:]]
    assert {"done", "pruned"} <= set(states) and len(states) == 14
    kept = [path.parent.name for path in folder.glob("trials/*/checkpoints")]
    assert kept == [best.folder.name]


def test_a_failed_trial_has_its_reason_and_the_sampler_learns_from_it(tmp_path):
    lines = LINES | {"optimizer.learning_rate": "log 1e-3 1"}
    config = CONFIG.copy_and_resolve_references()
    config.optimizer.learning_rate = 0.9
    best = sweep(tmp_path / "s", 12, config=config, lines=lines)
    table = rows(tmp_path / "s")
    assert table[1].split(",")[:2] == ["0", "failed"] and best.score > 0
    text = (tmp_path / "s" / page.FILE).read_text()
    assert "trial 0: diverged: step 3 is not finite" in text and "trials/0000/output.log" in text
    with contextlib.closing(sqlite3.connect(tmp_path / "s" / "study.db")) as told:
        states = told.execute("select state from trials where number = 0").fetchone()
    assert states == ("PRUNED",)  # which the sampler takes for a bad one; of FAIL it would learn nothing


def test_a_study_whose_every_trial_fails_ends_with_an_error(tmp_path):
    with pytest.raises(InputError, match="all 3 trials failed; the last, trial 2: no space left"):
        sweep(tmp_path / "s", 3, lambda *_: Outcome("failed", "no space left"))
    assert (tmp_path / "s" / page.FILE).exists() and not (tmp_path / "s" / worker.BEST).exists()


def test_a_trial_without_a_finite_score_has_failed(tmp_path):
    def run(folder, seen, stop):
        seen([math.nan] * EVALUATIONS)
        return Outcome("done")

    with pytest.raises(InputError, match="it ended without a mIoU_8"):
        sweep(tmp_path / "s", 1, run)


def test_time_and_signals_stop_a_trial_that_goes_on_later(tmp_path):
    def waits(folder, seen, stop):
        assert stop()
        return Outcome("stopped")

    assert sweep(tmp_path / "s", 2, waits, hours=1e-9) is None  # not even begun
    assert not (tmp_path / "s" / "trials").exists()

    def signalled(folder, seen, stop):
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        return waits(folder, seen, stop)

    with pytest.raises(launcher.Stopped):
        sweep(tmp_path / "s", 2, signalled)
    assert [line.split(",")[1] for line in rows(tmp_path / "s")[1:]] == ["running"]
    seen_folders = []

    def resumed(folder, seen, stop):
        seen_folders.append(folder.name)
        return train(folder, seen, stop)

    sweep(tmp_path / "s", 2, resumed)
    assert seen_folders == ["0000", "0001"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"config": lcjax.config("dfc2020", model="unet", data="sample", tiny=True, batch_size=4)},
            "batch_size (there 8, now 4)",
        ),
        ({"lines": LINES | {"scaling": "choice sensor | range"}}, "scaling"),
        ({"sampler": "random"}, "sampler (there 'tpe', now 'random')"),
        ({"pruner": "none"}, "pruner (there 'median', now 'none')"),
        ({"storage": "sqlite:////elsewhere.db"}, "give the same"),
    ],
)
def test_a_folder_of_another_study_is_refused(finished, change, said):
    with pytest.raises(InputError) as error:
        sweep(finished[0], 15, **change)
    assert said in str(error.value)


def test_a_running_trial_of_another_worker_is_left_alone(tmp_path):
    folder = tmp_path / "s"
    numbers = []

    def outer(place, seen, stop):
        if not numbers:
            numbers.append(place.name)
            sweep(folder, 2, outer)  # another worker, while this one's trial runs
        else:
            numbers.append(place.name)
        return train(place, seen, stop)

    sweep(folder, 2, outer)
    assert numbers == ["0000", "0001"]


def test_a_training_that_outlived_its_worker_is_left_alone(tmp_path):
    folder = tmp_path / "s"
    with pytest.raises(ZeroDivisionError):
        sweep(folder, 2, lambda *_: 1 // 0)
    with locks.held(folder / "trials" / "0000" / ".lock", folder, doing="training in"):
        sweep(folder, 2)
        assert [line.split(",")[1] for line in rows(folder)[1:]] == ["running", "done"]
    sweep(folder, 2)
    assert [line.split(",")[1] for line in rows(folder)[1:]] == ["done", "done"]


def test_two_folders_share_a_study_on_one_storage(tmp_path):
    """As workers on machines without a common folder do, with a server."""
    address = f"sqlite:///{tmp_path}/server.db"
    with pytest.raises(ZeroDivisionError):
        sweep(tmp_path / "a" / "s", 4, lambda *_: 1 // 0, storage=address)
    sweep(tmp_path / "b" / "s", 4, storage=address)  # trial 0 is in the other folder, and stays there
    assert sorted(path.name for path in (tmp_path / "b" / "s" / "trials").glob("0*")) == ["0001", "0002", "0003"]
    sweep(tmp_path / "a" / "s", 4, storage=address)
    assert [line.split(",")[1] for line in rows(tmp_path / "a" / "s")[1:]].count("running") == 0
    with pytest.raises(InputError, match="holds another study"):
        sweep(tmp_path / "c" / "s", 4, storage=address, pruner="none")


def test_trials_without_their_study_and_workdirs_are_refused(tmp_path):
    (tmp_path / "s" / "trials" / "0000").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds trials, and no study\.json"):
        sweep(tmp_path / "s", 1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="the workdir of a run; choose another --study"):
        sweep(tmp_path / "run", 1)


def test_a_folder_that_is_renamed_goes_on_with_its_trials(finished, tmp_path):
    whole, _ = finished
    with pytest.raises(ZeroDivisionError):
        sweep(tmp_path / "before", 4, fails_after(2))
    (tmp_path / "before").rename(tmp_path / "after")
    sweep(tmp_path / "after", 4)
    assert rows(tmp_path / "after") == rows(whole)[:5]
    assert "The best of after:" in (tmp_path / "after" / worker.BEST).read_text()


@pytest.mark.parametrize("storage", ["", "sqlite:///{}/server.db"])
def test_trials_that_the_storage_knows_nothing_of_are_refused(tmp_path, storage):
    address = storage.format(tmp_path)
    sweep(tmp_path / "s", 2, storage=address)
    (tmp_path / "server.db" if address else tmp_path / "s" / "study.db").unlink()
    held = sorted(path.name for path in (tmp_path / "s" / "trials").iterdir())
    for _ in range(2):  # and the second time, when there is an empty storage
        with pytest.raises(InputError, match=r"\.db: tells of no trial, and .*/s/trials holds some; put back what"):
            sweep(tmp_path / "s", 2, storage=address)
    assert sorted(path.name for path in (tmp_path / "s" / "trials").iterdir()) == held


def test_a_folder_on_a_server_is_renamed(tmp_path):
    address = f"sqlite:///{tmp_path}/server.db"
    sweep(tmp_path / "before", 2, storage=address)
    (tmp_path / "before").rename(tmp_path / "after")
    sweep(tmp_path / "after", 3, storage=address)
    assert [line.split(",")[0] for line in rows(tmp_path / "after")[1:]] == ["0", "1", "2"]


def test_a_config_outside_of_the_space_is_said(tmp_path, caplog):
    lines = LINES | {"crop": "uniform 32 48 step 16", "scaling": "choice range | standardised"}
    for trials in (1, 2):
        sweep(tmp_path / "s", trials, lines=lines)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    wanted = [
        f"{field} {now} lies outside of {lines[field]!r}" for field, now in (("scaling", "'sensor'"), ("crop", 64))
    ]
    assert said == [f"{tmp_path / 's'}: the first trial is not the config as it is: {'; '.join(wanted)}"]
    caplog.clear()
    sweep(tmp_path / "inside", 1)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_damaged_storage_is_named(tmp_path):
    sweep(tmp_path / "s", 1)
    (tmp_path / "s" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"study\.db: DatabaseError: file is not a database; put back"):
        sweep(tmp_path / "s", 2)


def test_names_of_folders_with_braces_and_spaces(tmp_path):
    folder = tmp_path / "a {b} c%20&d"
    sweep(folder, 1)
    assert (folder / "study.db").is_file() and json.loads((folder / "study.json").read_text())["storage"] == ""
