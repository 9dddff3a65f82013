"""Fields of configs: what each may be is declared once, and agrees with what the code knows."""

import math

import pytest

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.normalization import SCALINGS
from lcjax.configs import dfc2020, pretrain
from lcjax.engine import experiment
from lcjax.engine.optimizer import make_optimizer
from lcjax.engine.schedule import SCHEDULES, learning_rate
from lcjax.parallel import mesh
from lcjax.runs import config_fields
from lcjax.runs.config_fields import ALL_FIELDS, Choice, Duration, Interval, Range


@pytest.mark.parametrize("name", ALL_FIELDS)
def test_defaults_are_allowed_and_what_is_just_outside_is_refused(name):
    field = ALL_FIELDS[name]
    for tiny in (False, True):
        config_fields.check_values({name: field.value(tiny)})
    wrong = {bool: "yes", int: True, float: "0.1", str: 3, tuple: 0.5}[type(field.default)]
    with pytest.raises(InputError, match=rf"^config\.{name}=.*: expected "):
        config_fields.check_values({name: wrong})
    if isinstance(field.allowed, Range):
        outside = [field.allowed.low - 1e-6, field.allowed.high * 2 + 1, math.inf, math.nan]
        kind = type(field.default)
        for value in [math.floor(outside[0]), 10**30] if kind is int else outside:
            if not (value == math.inf and kind is int) and not (kind is int and field.allowed.high == math.inf):
                assert not field.allowed.admits(value), (name, value)
        assert field.allowed.admits(kind(field.allowed.low)) != field.allowed.open_low
    elif field.allowed:
        assert not field.allowed.admits("nonsense")


def test_choices_are_those_that_the_code_knows():
    def words(name):
        assert isinstance(ALL_FIELDS[name].allowed, Choice)
        return set(ALL_FIELDS[name].allowed.words)

    assert words("scaling") == SCALINGS.keys() and words("optimizer.schedule") == set(SCHEDULES)
    assert words("parallel.mode") == set(mesh.MODES) and words("parallel.batch_norm") == set(mesh.BATCH_NORMS)
    config = dfc2020.get_config("tiny=true").optimizer
    for rule in words("optimizer.batch_rule"):
        learning_rate(_with(config, batch_rule=rule), 8, 0, 1)
    for name in words("optimizer.name"):
        make_optimizer(_with(config, name=name))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("parallel.mode", "xmap", "expected jit or pmap"),
        ("parallel.batch_norm", "local", "expected global or replica"),
        ("parallel.fsdp", 0, "expected 1 to"),
        ("accumulate", 0, "expected 1 to"),
        ("threads", -1, "expected 0 to"),
        ("workers", -1, "expected 0 to"),
        ("optimizer.batch_rule", "cubic", "expected none, linear or sqrt"),
        ("optimizer.reference_batch", 0, "expected 1 to"),
        ("optimizer.schedule", "linear", "expected cosine, constant, plateau, poly or one_cycle"),
        ("optimizer.plateau_factor", 1.0, "expected above 0 and below 1"),
        ("optimizer.plateau_patience", -1, "expected 0 or more"),
        ("projection", -1, "expected 0 to"),
    ],
)
def test_a_run_is_refused_before_its_data_are_looked_for(name, value, says, tmp_path):
    """At every door to an experiment: what comes behind them relies on it."""
    config = pretrain.get_config("tiny=true") if name == "projection" else dfc2020.get_config("tiny=true")
    config.update_from_flattened_dict({name: value, "data_dir": str(tmp_path)})
    for door in (experiment.build, experiment.build_without_data, experiment.build_to_measure):
        with pytest.raises(InputError, match=rf"^config\.{name}={value!r}: {says}"):
            door(config)


def _with(config, **changes):
    copy = config.copy_and_resolve_references()
    copy.update(changes)
    return copy


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("20 epoch", (20, "epochs")), ("1 step", (1, "steps")), ("0.5 percent", (0.5, "percent")),
     ("1 example", (1, "examples")),
     (" 3  steps", (3, "steps")), ("20", None), ("20 parsec", None), ("-1 steps", None), ("nan steps", None),
     ("1e300 steps", None), ("", None), ("steps", None)],
)  # fmt: skip
def test_durations_in_one_and_many(text, parsed):
    assert Duration().parsed(text) == parsed
    if parsed and parsed[1] == "percent":
        assert Duration(percent=False).parsed(text) is None


@pytest.mark.parametrize(
    ("value", "admitted"),
    [((0.5, 2.0), True), ([1, 1], True), ((2, 0.5), False), ((0.5,), False), ((0.5, 1, 2), False), ((0.01, 1), False),
     ((1, math.inf), False), ((math.nan, 1), False), ((True, 1), False), (("0.5", 1), False), ((), False)],
)  # fmt: skip
def test_intervals_are_two_numbers_in_order(value, admitted):
    assert Interval(0.1, 10).admits(value) == admitted


def test_a_config_that_lacks_fields_is_refused_with_their_names():
    config = dfc2020.get_config("tiny=true")
    config_fields.check(config)
    config_fields.check(pretrain.get_config("tiny=true"))  # which has no split.test
    del config["batch_size"], config["loss"]
    with pytest.raises(InputError, match=r"^runs/x: has no field batch_size, loss; expected all of docs/config\.md"):
        config_fields.check(config, "runs/x")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("optimizer.lr", "did you mean 'optimizer.learning_rate'? config.optimizer has "),
        ("lr", "did you mean 'optimizer.learning_rate'? config has "),
        ("batchsize", "did you mean 'batch_size'? "),
        ("sampling", "did you mean 'sampling.name'? config has "),  # a group
        ("optimizer", "did you mean 'optimizer.name'? config has "),
        ("qqq", "config has task, "),
    ],
)
def test_a_field_that_is_not_there_is_told_what_is(name, says):
    assert config_fields.unknown(name, list(ALL_FIELDS)).startswith(says)


def test_whole_numbers_of_any_length_are_compared():
    for name in ("seed", "patience"):
        assert ALL_FIELDS[name].allowed.admits(10**400) == (ALL_FIELDS[name].allowed.high == math.inf)
