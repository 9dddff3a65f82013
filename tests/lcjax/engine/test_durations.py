"""Durations in words become steps."""

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.engine import durations

UNITS = {"name": "config.total", "batch_size": 8, "epoch": 20}


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("300 steps", 300),
        ("1 epoch", 3),
        ("0 steps", 0),
        ("1 epochs", 3),  # 20 examples are two batches and a half
        ("2 epochs", 5),
        ("0.5 epochs", 2),
        ("16 examples", 2),
        ("17 examples", 3),
        ("5 percent", 5),
        ("0.1 percent", 1),
        ("100 percent", 100),
    ],
)
def test_durations(duration, expected):
    assert durations.steps(duration, **UNITS, total=100) == expected


@pytest.mark.parametrize(
    "duration", ["", "steps", "300", "300steps", "many steps", "-1 steps", "3 weeks", "3 stepz", 300]
)
def test_what_is_no_duration_is_refused(duration):
    with pytest.raises(InputError) as raised:
        durations.steps(duration, **UNITS, total=100)
    assert str(raised.value) == (
        f'config.total={duration!r}: expected a number and one of steps, epochs, examples, percent, e.g. "20 epochs"'
    )


@pytest.mark.parametrize("duration", ["nan steps", "inf steps"])
def test_no_run_is_endless(duration):
    with pytest.raises(InputError):
        durations.steps(duration, **UNITS, total=100)


def test_a_head_that_is_warmed_up_for_the_whole_run_is_refused():
    config = dfc2020.get_config()
    config.total, config.optimizer.head_warmup = "40 steps", "25 percent"
    assert durations.of_run(config, 100).head_warmup == 10
    assert durations.without_records(config, 100).head_warmup == 25
    config.optimizer.head_warmup = "1e9 epochs"
    assert durations.without_records(config, 100).head_warmup == 100
    config.optimizer.head_warmup = "40 steps"
    with pytest.raises(
        InputError, match=r"head_warmup='40 steps': 40 steps of a run of 40, so that the encoders would"
    ):
        durations.of_run(config, 100)


def test_percent_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"one of steps, epochs, examples, e\.g\."):
        durations.steps("5 percent", **UNITS)
