"""Durations in words become steps."""

import pytest

from data_pipelines.schema.errors import InputError
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


def test_percent_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"one of steps, epochs, examples, e\.g\."):
        durations.steps("5 percent", **UNITS)
