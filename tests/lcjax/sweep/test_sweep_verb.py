"""`lcjax sweep`: what it refuses, in one line each, and real trainings as its trials."""

import json
import pathlib
import signal
import sys
import time
import types

import launched
import pytest

import lcjax
from lcjax.configs import registry
from lcjax.engine import monitor as monitors
from lcjax.sweep import check, storage

CONFIG = "--config=dfc2020:model=unet,data=sample,tiny=true"


def asked(study, *more, config=CONFIG, trials="--trials=2"):
    return ["sweep", config, f"--study={study}", trials, *more]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--space=optimizer.lr=log 1e-4 1e-2"], "space optimizer.lr: there is no such field; did you mean"),
        (["--space=optimizer.learning_rate=log 1 0.1"], "LOW 1 is not below HIGH 0.1"),
        (["--space=optimizer.learning_rate=log 0 0.1"], "LOW 0 has no logarithm"),
        (["--space=optimizer.name=choice adam | lamp"], "expected adamw, adam, sgd, lars or lamb"),
        (["--config.split.validation="], "config.split.validation is empty"),
        (["--config.split.validation=test"], "config.split.validation='test': is a test split"),
        (["--config.split.validation=by_scene/test[:50%]"], "is a test split"),
        (["--storage=nonsense"], "--storage: no address of a database"),
        (["--storage=sqlite:////nowhere/at/all.db"], "sqlite:////nowhere/at/all.db: OperationalError: unable to open"),
        (["--storage=env:NOT_SET_HERE"], "the environment variable NOT_SET_HERE is not set"),
        (["--pruner=mean"], "value should be one of <median|hyperband|none>"),
        (["--trials=0"], "trials"),
    ],
)
def test_wrong_input_is_one_line(command, tmp_path, more, said):
    code, _, cried = command(*asked(tmp_path / "s", *more))
    assert code == 2 and len(cried) == 1 and said in cried[0]
    assert not (tmp_path / "s" / "trials").exists()


def test_it_says_what_it_needs(command, tmp_path, monkeypatch):
    for missing in (["sweep", CONFIG], ["sweep", f"--study={tmp_path}"], ["sweep", CONFIG, f"--study={tmp_path}"]):
        code, _, cried = command(*missing)
        assert code == 2 and "e.g. --" in cried[0]
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, cried = command(*asked(tmp_path / "s"))
    assert code == 2 and cried == [
        "lcjax sweep: a study needs the package optuna, which is not installed: pip install 'lcjax[sweep]'"
    ]


def test_secrets_of_an_address_are_never_shown(command, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIES", "postgresql+psycopg://me:s3cret@localhost:1/db?sslpassword=s3cret2")
    code, out, cried = command(*asked(tmp_path / "s", "--storage=env:STUDIES"))
    assert code == 2 and "postgresql+psycopg://localhost:1/db: " in cried[0]
    held = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "s3cret" not in out + cried[0] + held
    place = storage.Place(tmp_path, "mysql://me:s3cret@host/db")
    with pytest.raises(storage.InputError) as error, place.told():
        raise ImportError("cannot reach mysql://me:s3cret@host/db")
    assert "s3cret" not in str(error.value) and "***" in str(error.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"split.validation": "validation[80%:]", "split.test": "validation[60%:]"},
            "of its 2 records are in the test",
        ),
        ({"split.validation": "test[:50%]+validation[80%:]", "split.test": ""}, "records are in the test split 'test'"),
    ],
)
def test_records_of_the_test_split_are_not_optimised(data_dir, fields, said):
    config = lcjax.config("dfc2020", model="unet", data="sample", tiny=True, data_dir=str(data_dir), **fields)
    with pytest.raises(check.InputError, match="a sweep must not choose by them") as error:
        check.look(config, {"dihedral": "choice true | false"})
    assert said in str(error.value)


def test_each_end_and_choice_is_tried_out_before_the_first_trial(data_dir):
    config = lcjax.config("dfc2020", model="unet", data="sample", tiny=True, data_dir=str(data_dir), crop=32)
    found = check.look(config, {"crop": "uniform 32 256"})
    assert found == check.Found("mIoU_8", 3, False)
    with pytest.raises(check.InputError, match=r"space crop, value 512: config.crop=512: larger than the 256 px tiles"):
        check.look(config, {"crop": "uniform 32 512"})
    with pytest.raises(check.InputError, match=r"space loss, value 'dise': config.loss='dise': did you mean 'dice'"):
        check.look(config, {"loss": "choice cross_entropy | dise"})


def test_a_task_whose_own_monitor_is_its_loss_is_not_searched_for_another_loss(monkeypatch):
    """As one of another package may be: the config names no monitor then."""
    dataset = types.SimpleNamespace(splits=())
    experiment = types.SimpleNamespace(dataset=dataset, monitor=monitors.Monitor("loss", lower_is_better=True))
    monkeypatch.setattr(check.experiments, "build", lambda _: experiment)
    config = lcjax.config("dfc2020", model="unet", data="sample", tiny=True, **{"split.test": ""})
    with pytest.raises(check.InputError, match=r"space class_weights: is not searched: config.monitor='loss' is no"):
        check.look(config, {"class_weights": "uniform 0 1"})


OWN = """
import lcjax

SPACE = {"optimizer.learning_rate": "log 1e-3 1e+6", "class_weights": "uniform 0 1"}

def get_config():
    fields = {"model.base": 4, "crop": 32, "optimizer.clip": 0.0}
    return lcjax.config("dfc2020", model="unet", data="sample", tiny=True, **fields)
"""


def real(tmp_path: pathlib.Path, data_dir: pathlib.Path, trials: int, steps: int, *more: str) -> list[str]:
    """Arguments of a study of real trainings; its space is in the config's file."""
    (tmp_path / "own.py").write_text(OWN)
    fields = {"data_dir": data_dir, "total": f"{steps} steps", "evaluate_every": "4 steps", "save_every": "2 steps"}
    given = [f"--config.{key}={value}" for key, value in fields.items()]
    study = f"--study={tmp_path / 'study'}"
    return ["sweep", f"--config={tmp_path / 'own.py'}", study, f"--trials={trials}", "--pruner=none", *given, *more]


def table(tmp_path) -> list[list[str]]:
    return [line.split(",") for line in (tmp_path / "study" / "trials.csv").read_text().splitlines()[1:]]


@pytest.mark.slow
def test_two_workers_are_killed_and_the_study_ends_as_it_must(tmp_path, data_dir):
    arguments = real(tmp_path, data_dir, trials=6, steps=12)
    workers = launched.start(arguments) + launched.start(arguments)
    folders = [tmp_path / "study" / "trials" / name for name in ("0000", "0001")]
    for folder in folders:
        launched.wait_until_saved(folder, 2, workers)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    launched.finish(workers)
    before = [(folder / "metrics.jsonl").stat().st_size for folder in folders]
    time.sleep(3)  # their trainings went with them
    assert [(folder / "metrics.jsonl").stat().st_size for folder in folders] == before
    assert all(launched.saved(folder) < 12 for folder in folders)
    again = launched.finish(launched.start(arguments) + launched.start(arguments), timeout=1200)
    assert [code for code, *_ in again] == [0, 0], again
    said = "".join(out for _, out, _ in again)
    assert "trial 0 goes on" in said and "trial 1 goes on" in said
    rows = table(tmp_path)
    assert [row[0] for row in rows] == list("012345") and {row[1] for row in rows} <= {"done", "failed"}
    # What was killed and went on has the scores of one that was not.
    whole = tmp_path / "whole"
    launched.succeed(["train", f"--config={folders[0] / 'config.py'}", f"--workdir={whole}"])
    assert (whole / "metrics.jsonl").read_text() == (folders[0] / "metrics.jsonl").read_text()
    # The best is a config that `train` takes.
    best = max((row for row in rows if row[1] == "done"), key=lambda row: float(row[2]))
    config = registry.parse(str(tmp_path / "study" / "best.py"))
    assert config.optimizer.learning_rate == float(best[4])
    kept = json.loads((tmp_path / "study" / "trials" / f"{int(best[0]):04d}" / "config.json").read_text())
    assert json.loads(config.to_json()) == {key: value for key, value in kept.items() if key != "schema_version"}


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_saves_and_its_trial_goes_on(tmp_path, data_dir):
    arguments = real(tmp_path, data_dir, trials=1, steps=400)
    workers = launched.start(arguments)
    launched.wait_until_saved(tmp_path / "study" / "trials" / "0000", 2, workers)
    workers[0].send_signal(signal.SIGTERM)
    ((code, out, _),) = launched.finish(workers)
    assert code == 75 and "trial 0: stopped; the same command goes on with it" in out
    assert [row[1] for row in table(tmp_path)] == ["running"]
    assert "trial 0 goes on" in launched.succeed(arguments)
    assert [row[1] for row in table(tmp_path)] == ["done"]


@pytest.mark.slow
def test_trials_that_diverge_have_failed_and_the_study_goes_on(tmp_path, data_dir):
    space = "--space=optimizer.learning_rate=choice 0.01 | 1e+30"
    out = launched.succeed(real(tmp_path, data_dir, 5, 8, space, "--sampler=random"))
    states = {float(row[4]): row[1] for row in table(tmp_path)}
    assert states == {0.01: "done", 1e30: "failed"} and "failed: diverged: step" in out
