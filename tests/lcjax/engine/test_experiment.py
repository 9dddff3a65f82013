"""One experiment: what `benchmark` times and `--topology` compiles is what `train` trains."""

import contextlib
import pathlib
import re

import jax
import numpy as np
import pytest
from networks import small, smallest

from data_pipelines.reading.arrays import from_arrays
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.normalization import SCALINGS
from lcjax.configs import dfc2020, rasters
from lcjax.engine import experiment as experiments
from lcjax.profiling import aot_compile
from lcjax.profiling.benchmark import benchmark
from lcjax.training.run import train


class Lowered(Exception):
    """Ends a verb as soon as its program is known."""


@pytest.fixture
def program_of(monkeypatch):
    """A function (call) -> StableHLO of the training step that the call would compile."""

    def recorded(experiment, state, batch):
        raise Lowered(lower(experiment, state, batch).as_text())

    lower = experiments.Experiment.lower
    monkeypatch.setattr(experiments.Experiment, "lower", recorded)

    def program(call) -> str:
        with pytest.raises(Lowered) as caught:
            call()
        return str(caught.value)

    return program


def config_of(scaling: str, data_dir: pathlib.Path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    config.scaling = scaling
    config.class_weights = 0.5
    return config


def masked(program: str) -> str:
    """The program with the values of its constants left out, and how they are written: as one number or as all."""
    return re.sub(r"dense<[^>]*>", "dense<>", program)


@pytest.mark.parametrize(
    "scaling",
    [pytest.param(name, marks=() if name in ("sensor", "by_maximum") else pytest.mark.slow) for name in SCALINGS],
)
def test_the_step_that_is_measured_is_the_step_that_is_trained(scaling, data_dir, tmp_path, program_of):
    config = config_of(scaling, data_dir)
    trained = program_of(lambda: train(config, tmp_path / "run"))
    assert "stablehlo" in trained
    assert program_of(lambda: benchmark(config, 2)) == trained
    setting = aot_compile.setting_of(config, jax.device_count())
    assert program_of(lambda: aot_compile.compiled(config, setting, jax.devices())) == trained

    config.data_dir = str(tmp_path / "nothing")
    without = program_of(lambda: benchmark(config, 2))
    assert without != trained and masked(without) == masked(trained)


def test_the_margin_that_zooming_out_needs_is_shipped(data_dir, tmp_path, program_of):
    """Of windows of up to 64 px for crops of 32; the same in what is measured and trained."""
    config = config_of("sensor", data_dir)
    config.augmentation.scale = (0.5, 2.0)
    experiment = experiments.build(config)
    with contextlib.closing(experiment.train_batches(0)) as batches:
        shipped = {key: value.shape for key, value in next(batches).items()}
    assert shipped == {key: value.shape for key, value in experiment.synthetic_batch(config.batch_size).items()}
    assert shipped["s2"][1:3] == (64, 64)
    trained = program_of(lambda: train(config, tmp_path / "run"))
    assert program_of(lambda: benchmark(config, 2)) == trained


@pytest.mark.parametrize(("window", "crop"), [(16, 32), (48, 40), (32, 32)])
def test_what_evaluation_shows_is_not_the_size_of_the_records(data_dir, window, crop):
    config = config_of("sensor", data_dir)
    config.window, config.crop = window, crop
    config.augmentation.scale = (0.8, 1.2)
    experiment = experiments.build(config)
    with contextlib.closing(experiment.train_batches(0)) as batches:
        shipped = {key: value.shape for key, value in next(batches).items()}
    assert shipped == {key: value.shape for key, value in experiment.synthetic_batch(config.batch_size).items()}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"crop": 300}, "config.crop=300: larger than the "),
        ({"augmentation.cutmix": 0.5, "accumulate": 2}, "config.augmentation.cutmix=0.5: takes boxes from"),
        ({"optimizer.schedule": "plateau", "split.validation": ""}, "plateau"),
    ],
)
def test_what_does_not_go_together_is_refused_without_data_too(data_dir, tmp_path, fields, says):
    config = config_of("sensor", data_dir)
    config.update_from_flattened_dict(fields)
    for folder in (data_dir, tmp_path):
        config.data_dir = str(folder)
        with pytest.raises(InputError, match=says):
            experiments.build_to_measure(config)


def test_tiles_without_the_margin_are_told_of(data_dir, capsys):
    config = config_of("sensor", data_dir)
    config.augmentation.scale = (0.1, 2.0)
    experiments.build(config)
    assert re.search(r"config.augmentation: scale=\(0.1, 2.0\) .* need 320 px of a tile", capsys.readouterr().out)


def test_the_step_of_a_fine_tuning_is_the_one_that_is_measured(data_dir, tmp_path, program_of):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), data_dir)
    plain = program_of(lambda: benchmark(config, 2))
    programs = {plain}
    for field, value in (
        ("optimizer.head_warmup", "25 percent"),
        ("optimizer.ema_decay", 0.99),
        ("freeze_statistics", "encoder"),
    ):
        config.update_from_flattened_dict({field: value})
        trained = program_of(lambda: train(config, tmp_path / field))  # noqa: B023  it is called at once
        assert trained not in programs
        programs.add(trained)
    assert program_of(lambda: benchmark(config, 2)) == trained
    setting = aot_compile.setting_of(config, jax.device_count())
    assert program_of(lambda: aot_compile.compiled(config, setting, jax.devices())) == trained
    config.data_dir = str(tmp_path / "nothing")
    assert masked(program_of(lambda: benchmark(config, 2))) == masked(trained)


def test_scalings_are_other_programs(data_dir, tmp_path, program_of):
    config = config_of("sensor", data_dir)
    plain = program_of(lambda: benchmark(config, 2))
    config.scaling = "whitened"
    assert masked(program_of(lambda: benchmark(config, 2))) != masked(plain)


def test_the_length_of_the_run_is_in_the_program(data_dir, program_of):
    config = config_of("sensor", data_dir)
    plain = program_of(lambda: benchmark(config, 2))
    config.total = "77 steps"
    assert program_of(lambda: benchmark(config, 2)) != plain


def test_what_needs_no_data_is_refused_before_they_are_opened(tmp_path):
    config = smallest("unet")
    config.data_dir = str(tmp_path / "gone")
    for fields, says in (
        ({"loss": "dise"}, "did you mean 'dice'"),
        ({"loss": "dice(over=batch)", "accumulate": 2}, "whole"),
    ):
        config.update(fields)
        with pytest.raises(InputError, match=says):
            experiments.build(config)


@pytest.mark.parametrize(
    ("argument", "count", "fusion", "taken"),
    [
        ("", 1, "b", ["b"]),
        ("", 3, "early", ["a", "b", "c"]),
        ("model=two_stream_swin", 3, "late", ["a", "b", "c"]),
        ("fusion=early_plus_late:c+a", 3, "early_plus_late:c+a", ["c", "a"]),
        ("fusion=b", 3, "b", ["b"]),
    ],
)
def test_what_own_imagery_is_seen_as_is_the_data_s_to_say(argument, count, fusion, taken):
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"] if count == 3 else ["b"]
    images = {name: rng.integers(0, 255, (8, 64, 64, 2), np.uint8) for name in names}
    data = from_arrays({"train": (images, rng.integers(0, 2, (8, 64, 64)))}, ["land", "water"])
    config = rasters.get_config(",".join(filter(None, ["tiny=true,validation=none,test=none", argument])))
    asked = config.fusion
    experiment = experiments.build(config, data)
    assert experiment.config.fusion == experiment.card.fusion == fusion
    assert [sensor.name for sensor in experiment.card.sensors] == taken
    assert config.fusion == asked  # the caller's is as it was
    assert list(experiment.task.keys) == [*taken, "label"]
