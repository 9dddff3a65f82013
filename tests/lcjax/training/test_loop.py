"""The loop: it can be killed, it is the same on any number of devices, it stops on NaN, frozen means frozen."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import threading

import jax
import launched
import numpy as np
import own
import pytest
from networks import small

from data_pipelines.prepare import prepare
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020, pretrain, rasters
from lcjax.engine import restore, schedule
from lcjax.engine.experiment import Experiment, make_card
from lcjax.evaluation import evaluate
from lcjax.runs.progress import Progress
from lcjax.tasks.segmentation import Segmentation
from lcjax.training.run import train

ROOT = pathlib.Path(__file__).parents[3]


def same_parameters(one: pathlib.Path, other: pathlib.Path, kind: str) -> None:
    first, second = restore.restore(one, kind), restore.restore(other, kind)
    assert first.step == second.step
    for flats in ((first.parameters, second.parameters), (first.statistics, second.statistics)):
        assert flats[0].keys() == flats[1].keys()
        for path in flats[0]:
            np.testing.assert_array_equal(flats[0][path], flats[1][path], err_msg=path)


def losses(workdir: pathlib.Path) -> list[float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["split"] == "train"]


@pytest.mark.parametrize(
    "config",
    [
        lambda: dfc2020.get_config("model=unet,data=sample,tiny=true"),
        pytest.param(lambda: pretrain.get_config("data=sample,tiny=true"), marks=pytest.mark.slow),
    ],
    ids=["unet", "contrastive"],
)
def test_losses_agree_on_one_and_eight_devices(config, data_dir, tmp_path):
    seen = {}
    for devices in (1, 8):
        shrunk = small(config(), data_dir, steps=4)
        shrunk.parallel.data = devices
        shrunk.split.train = shrunk.split.train.split("[")[0]
        shrunk.split.validation = shrunk.split.train
        train(shrunk, tmp_path / str(devices))
        seen[devices] = losses(tmp_path / str(devices))
    assert len(seen[1]) == 4
    np.testing.assert_allclose(seen[1], seen[8], rtol=2e-4)


def test_nan_stops_with_step_norms_and_records(data_dir, tmp_path, monkeypatch):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=8)
    config.optimizer.learning_rate = 1e30
    config.optimizer.warmup = "0 steps"
    config.optimizer.clip = 0.0
    with pytest.raises(FloatingPointError) as caught:
        train(config, tmp_path / "nan")
    message = str(caught.value)
    assert "is not finite" in message and "gradient_norm" in message and "ROIs0000_validation" in message
    assert "\n" not in message
    # Nothing that is not finite was kept.
    for folder in (tmp_path / "nan" / "checkpoints" / "last").glob("[0-9]*"):
        kept = restore.restore(tmp_path / "nan", "last")
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept.parameters)), folder


def test_frozen_encoders_stay_and_are_those_of_the_pretraining(data_dir, tmp_path, capsys):
    pre = small(pretrain.get_config("data=sample,tiny=true"), data_dir, steps=2)
    pre.split = {"train": "unlabelled", "validation": "unlabelled"}
    train(pre, tmp_path / "pretrain")
    text = f"model=two_stream_swin,data=sample,tiny=true,init={tmp_path / 'pretrain'},freeze=encoder"
    config = small(dfc2020.get_config(text), data_dir, steps=4)
    config.scaling = "by_maximum"
    train(config, tmp_path / "frozen")
    assert "pretrain learned from other numbers of s1, s2 than this run is shown" in capsys.readouterr().out
    source, tuned = restore.restore(tmp_path / "pretrain", "last"), restore.restore(tmp_path / "frozen", "last")
    encoders = [path for path in tuned.parameters if path.startswith("encoders/")]
    assert len(encoders) > 20
    for path in encoders:
        np.testing.assert_array_equal(source.parameters[path], tuned.parameters[path], err_msg=path)


def test_freezing_what_has_learned_nothing_is_warned_of(data_dir, tmp_path, capsys, monkeypatch):
    def soon(*_):
        raise InputError("soon")

    monkeypatch.setattr(schedule, "check_plateau", soon)  # so that the run ends before it costs anything
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true,freeze=encoder"), data_dir)
    config.freeze_statistics = "encoder"
    for init, warned in (("random", True), ("runs/pretrain", False)):
        config.init = init
        with pytest.raises(InputError, match="soon"):
            train(config, tmp_path / "run")
        said = capsys.readouterr().out
        for field in ("freeze", "freeze_statistics"):
            assert (f"warning: config.{field}='encoder' with config.init='random'" in said) == warned


def test_early_stopping_keeps_the_best(data_dir, tmp_path):
    # Without a learning rate, and without batch norm, every score is the first one.
    config = small(dfc2020.get_config("model=swin_unet,data=sample,tiny=true"), data_dir, steps=12)
    config.evaluate_every = "1 steps"
    config.patience = 2
    config.optimizer.learning_rate = 0.0
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if line["split"] == "validation"]
    assert [line["step"] for line in scored] == [1, 2, 3]
    assert restore.restore(tmp_path / "run", "best").step == 1
    assert restore.restore(tmp_path / "run", "last").step == 3


def rates(workdir: pathlib.Path) -> list[float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["learning_rate"] for line in lines if line["split"] == "train"]


@pytest.mark.slow  # most of a minute, or more
def test_a_plateau_lowers_the_rate_also_after_an_interruption(data_dir, tmp_path, monkeypatch):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=12)
    config.evaluate_every = "2 steps"
    config.save_every = "6 steps"
    config.optimizer.update({"schedule": "plateau", "plateau_patience": 1, "warmup": "0 steps"})
    monkeypatch.setattr(Segmentation, "scores", lambda task, sums: {task.monitor: 0.5})
    train(config, tmp_path / "whole")
    # Of the evaluations after 2, 4, 6, 8, 10 steps the first is the best, and every second one after it lowers.
    peak = config.optimizer.learning_rate
    np.testing.assert_allclose(rates(tmp_path / "whole"), [peak] * 6 + [peak / 2] * 4 + [peak / 4] * 2, rtol=1e-6)

    evaluations = iter(range(100))

    def interrupted(task, sums):
        if next(evaluations) == 4:
            raise KeyboardInterrupt
        return {task.monitor: 0.5}

    monkeypatch.setattr(Segmentation, "scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped")
    assert launched.saved(tmp_path / "stopped") == 6
    monkeypatch.setattr(Segmentation, "scores", lambda task, sums: {task.monitor: 0.5})
    train(config, tmp_path / "stopped")
    same_parameters(tmp_path / "whole", tmp_path / "stopped", "last")
    assert rates(tmp_path / "whole") == rates(tmp_path / "stopped")


def fine_tuning(data_dir):
    """A run of eight steps of all that fine-tuning knows."""
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=8)
    config.evaluate_every = config.save_every = "2 steps"
    config.optimizer.update({"ema_decay": 0.9, "head_warmup": "5 steps"})
    config.freeze_statistics = "encoder"
    return config


def test_a_fine_tuning_goes_on_after_an_interruption_as_if_there_had_been_none(data_dir, tmp_path, monkeypatch):
    train(fine_tuning(data_dir), tmp_path / "whole")
    evaluations, scores = iter(range(100)), Segmentation.scores

    def interrupted(task, sums):
        if next(evaluations) == 3:
            raise KeyboardInterrupt
        return scores(task, sums)

    monkeypatch.setattr(Segmentation, "scores", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        train(fine_tuning(data_dir), tmp_path / "stopped")
    for thread in set(threading.enumerate()) - before:  # nothing saves or deletes there any more
        thread.join(timeout=10)
        assert not thread.is_alive(), thread.name
    assert 0 < launched.saved(tmp_path / "stopped") < 8
    monkeypatch.setattr(Segmentation, "scores", scores)
    train(fine_tuning(data_dir), tmp_path / "stopped")
    for kind in ("last", "best"):
        same_parameters(tmp_path / "whole", tmp_path / "stopped", kind)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "stopped")]
    assert metrics[0] == metrics[1]


def test_averages_are_what_is_kept_scored_and_used(data_dir, tmp_path):
    """By the recursion, from the states that the training step gave."""
    config = fine_tuning(data_dir)
    seen, step_of = [], Experiment.compile

    def watched(experiment, state, batch):
        compiled = step_of(experiment, state, batch)

        def step(state, batch):
            after, metrics = compiled(state, batch)
            with jax.transfer_guard("allow"):
                seen.append(jax.device_get(after))
            return after, metrics

        seen.append(jax.device_get(state))
        step.cost_analysis, step.memory_analysis = compiled.cost_analysis, compiled.memory_analysis
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "compile", watched)
        found = train(config, tmp_path / "run")
    first, *states = seen
    average = {**first.trainable, **first.statistics}
    for count, state in enumerate(states):
        decay = min(0.9, (1 + count) / (10 + count))
        latest = {**state.trainable, **state.statistics}
        average = {path: decay * mean + (1 - decay) * latest[path] for path, mean in average.items()}
    last = restore.restore(tmp_path / "run", "last")
    for path, value in (last.parameters | last.statistics).items():
        np.testing.assert_allclose(value, average[path], rtol=1e-5, atol=1e-7, err_msg=path)
    for path in first.statistics:
        still = np.array_equal(last.statistics[path], first.statistics[path])
        assert still == path.startswith("encoders/"), path
    assert not np.array_equal(states[-1].trainable["head/classify/kernel"], last.parameters["head/classify/kernel"])
    for path, value in first.trainable.items():
        assert np.array_equal(states[4].trainable[path], value) == path.startswith("encoders/"), path
    assert all(
        not np.array_equal(states[5].trainable[p], first.trainable[p]) for p in first.trainable if p.endswith("l")
    )
    # The checkpoint that is the best has the score that training gave it.
    best = restore.restore(tmp_path / "run", "best")
    scored = next(row for row in found.history if row["split"] == "validation" and row["step"] == best.step)
    again = evaluate.evaluate(tmp_path / "run", "validation", "best")["scores"]
    monitor = best.task.monitor
    assert again[monitor] == pytest.approx(scored[monitor], abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimizer.schedule": "plateau", "split.validation": ""}, "config.split.validation is empty"),
        ({"optimizer.batch_rule": "cubic"}, "config.optimizer.batch_rule='cubic'"),
        ({"accumulate": 3}, "does not divide over 8 devices, in 3 parts each"),
        ({"optimizer.head_warmup": "100 percent"}, "config.optimizer.head_warmup='100 percent'"),
        ({"optimizer.ema_decay": 1.0}, "config.optimizer.ema_decay=1.0: expected 0 to below 1"),
    ],
)
def test_choices_that_do_not_fit_are_refused_before_anything_is_written(changes, says, data_dir, tmp_path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=re.escape(says)):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_goes_through_the_json_of_a_checkpoint():
    progress = Progress(96, {"loss": 0.5, "steps": 3}, evaluated=4, best=0.5, since_best=2, lr_multiplier=0.25)
    assert Progress(**json.loads(json.dumps(dataclasses.asdict(progress)))) == progress


def test_own_imagery_of_other_bands_and_classes(tmp_path):
    prepare.prepare("rasters/town", own.folder(tmp_path, bands=5, dtype="float32"), tmp_path / "data", tile=32)
    config = small(rasters.get_config("data=rasters/town,tiny=true"), tmp_path / "data", steps=2)
    train(config, tmp_path / "run")
    trained = restore.restore(tmp_path / "run", "best")
    (sensor,) = trained.card.sensors
    assert (sensor.name, sensor.dtype, len(sensor.bands)) == ("image", "float32", 5)
    assert [land_class.name for land_class in trained.card.legend.scored] == ["water", "forest"]
    result = evaluate.evaluate(tmp_path / "run", "test", "best")
    counts = [int((own.ids(3) == label).sum()) for label in (1, 2)]  # the third is ignored
    assert np.array(result["confusion"]).sum(axis=1).tolist() == counts
    assert result["dataset"] == "rasters/town 1.0.0"


def test_records_that_choose_the_checkpoint_and_are_scored_are_told(data_dir):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.split = {"train": "validation", "validation": "test[:1]", "test": "test"}
    dataset = open_dataset(data_dir, "sample")
    warnings = {role: split["warnings"] for role, split in make_card(config, dataset).splits.items()}
    assert warnings == {
        "train": [],
        "validation": ["1 of the 1 records of validation are also in test"],
        "test": [f"1 of the {dataset.splits['test']} records of test are also in validation"],
    }


def test_records_that_are_trained_on_and_scored_are_told(data_dir, tmp_path, capsys):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=2)
    config.split = {"train": "validation+test[:1]", "validation": "", "test": "test"}
    train(config, tmp_path / "run")
    records = open_dataset(data_dir, "sample").splits["test"]
    told = f"1 of the {records} records of test are also in train"
    assert f"warning: {told}" in capsys.readouterr().out
    result = evaluate.evaluate(tmp_path / "run", "test", "best")
    assert result["split"]["warnings"] == [told]
    assert (result["bands"], result["scaling"], result["legend"]) == ("all", "sensor", "dfc2020")


def test_without_a_validation_split_the_best_is_the_last(data_dir, tmp_path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=5)
    config.split = {"train": "validation", "validation": "", "test": "test"}
    config.patience = 1
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"train"} and lines[-1]["step"] == 5
    best, last = (restore.restore(tmp_path / "run", kind) for kind in ("best", "last"))
    assert best.step == last.step == 5
    for path in last.parameters:
        np.testing.assert_array_equal(best.parameters[path], last.parameters[path], err_msg=path)
    assert set(best.card.splits) == {"train", "test"}
    assert evaluate.evaluate(tmp_path / "run", "test", "best")["checkpoint"] == {"kind": "best", "step": 5}
    with pytest.raises(InputError, match="--split=validation: expected one of test, train"):
        evaluate.evaluate(tmp_path / "run", "validation", "best")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(crop=512), "config.crop=512"),
        (lambda c: c.update(batch_size=12), "config.batch_size=12"),
        (lambda c: c.update(fusion="both"), "config.fusion='both'"),
        (lambda c: c.update(task="regression"), "config.task='regression'"),
        (lambda c: c.update(total="soon"), "config.total='soon'"),
        (lambda c: c.update(freeze="decoder"), "config.freeze='decoder'"),
        (lambda c: c.update(precision="f16"), "config.precision='f16'"),
        (lambda c: c.update(init="nowhere"), "nowhere"),
        (lambda c: c.update(data_dir="nowhere"), "nowhere"),
        (lambda c: c.split.update(train="train"), "'train'"),
        (lambda c: c.optimizer.update(name="adagrad"), "config.optimizer.name='adagrad'"),
        (lambda c: c.optimizer.update(schedule="step"), "config.optimizer.schedule='step'"),
    ],
)
def test_wrong_config_is_one_clear_line(change, words, data_dir, tmp_path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    change(config)
    with pytest.raises(InputError) as caught:
        train(config, tmp_path / "run")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_workdir_of_another_config_is_refused_and_kept(trained, data_dir):
    before = (trained / "config.json").read_bytes()
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.seed = 7
    with pytest.raises(InputError, match=r"another config: seed \(there 42, now 7\)"):
        train(config, trained)
    assert (trained / "config.json").read_bytes() == before


def test_unwritable_workdir(data_dir, tmp_path):
    (tmp_path / "file").write_text("")
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    with pytest.raises(InputError, match="cannot be written"):
        train(config, tmp_path / "file" / "run")


def test_more_places_than_batch_for_contrastive(data_dir, tmp_path):
    config = small(pretrain.get_config("data=sample,tiny=true"), data_dir)
    config.batch_size = 64
    with pytest.raises(InputError, match=r"config.batch_size=64: .* its own negative"):
        train(config, tmp_path / "run")


def test_no_tensorflow_after_training(data_dir, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from lcjax.cli import main; code = main.main(sys.argv[1:]);"
        "print([m for m in ('tensorflow', 'torch', 'rasterio', 'scipy') if m in sys.modules]); sys.exit(code)"
    )
    words = [*launched.training(tmp_path / "run", data_dir, total="2 steps"), str(ROOT)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
