"""Learning rates against formulas and PyTorch."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020
from lcjax.engine import schedule as schedules
from lcjax.runs import config_fields


def rates(rate, count):
    return np.array([float(rate(jnp.int32(step))) for step in range(count)])


def test_warm_up_rises_linearly_to_the_peak():
    found = rates(schedules.LearningRate(0.1, warmup=4, total=20, schedule="cosine"), 5)
    np.testing.assert_allclose(found, [0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-6)


def test_cosine_falls_to_zero_at_the_end():
    rate = schedules.LearningRate(0.1, warmup=4, total=20, schedule="cosine")
    found = rates(rate, 21)
    np.testing.assert_allclose(found[4:], 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16)), atol=1e-8)
    assert found[12] == pytest.approx(0.05)
    assert found[20] == pytest.approx(0.0, abs=1e-8)
    assert found[19] > 0  # the last update still moves
    assert float(rate(jnp.int32(1000))) == pytest.approx(0.0, abs=1e-8)


def test_constant_stays_at_the_peak():
    found = rates(schedules.LearningRate(0.1, warmup=2, total=10, schedule="constant"), 10)
    np.testing.assert_allclose(found, [0.05, *[0.1] * 9], rtol=1e-6)


def test_without_warm_up_the_first_step_has_the_peak():
    assert float(schedules.LearningRate(0.1, 0, 10, "cosine")(jnp.int32(0))) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("rule", "batch_size", "peak"),
    [("none", 1024, 0.1), ("linear", 1024, 0.4), ("linear", 64, 0.025), ("sqrt", 1024, 0.2), ("sqrt", 64, 0.05)],
)
def test_the_peak_follows_the_batch(rule, batch_size, peak):
    fields = {"learning_rate": 0.1, "batch_rule": rule, "reference_batch": 256, "schedule": "cosine", "poly_power": 2.0}
    rate = schedules.learning_rate(ml_collections.ConfigDict(fields), batch_size, warmup=2, total=9)
    assert rate == schedules.LearningRate(pytest.approx(peak), 2, 9, "cosine", 2.0)


def lowered(scores, factor=0.5, patience=2):
    """The scale of the rate after each of the scores, as the loop counts."""
    rules = ml_collections.ConfigDict({"schedule": "plateau", "plateau_factor": factor, "plateau_patience": patience})
    best, since_best, scale, found = -np.inf, 0, 1.0, []
    for score in scores:
        since_best = 0 if score > best else since_best + 1
        best = max(score, best)
        scale *= schedules.plateau_factor(rules, since_best)
        found.append(scale)
    return found


@pytest.mark.parametrize(
    ("scores", "patience", "scales"),
    [
        # What torch.optim.lr_scheduler.ReduceLROnPlateau(mode="max", factor=0.5, threshold=0) did to a rate of 1.
        ([1, 1, 1, 1, 1, 1, 1, 1], 2, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ([1, 0, 0, 2, 0, 0, 0, 3, 0], 2, [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5]),
        ([1, 0, 0, 0, 0, 2, 0, 0, 0], 2, [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]),
        ([3, 1, 2, 4, 4], 0, [1, 0.5, 0.25, 0.25, 0.125]),
        ([1, 2, 3, 4], 0, [1, 1, 1, 1]),
    ],
)
def test_a_plateau_lowers_the_rate_as_in_pytorch(scores, patience, scales):
    assert lowered(scores, patience=patience) == scales


def test_other_schedules_are_never_lowered():
    fields = {"plateau_factor": 0.5, "plateau_patience": 0}
    for schedule in ("cosine", "constant"):
        assert schedules.plateau_factor(ml_collections.ConfigDict(fields | {"schedule": schedule}), 1) == 1.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"split.validation": ""}, r"config\.split\.validation is empty"),
        ({"patience": 11}, r"config\.patience=11: the run would end before .* which comes after 11 evaluations"),
    ],
)
def test_a_plateau_that_cannot_come_is_refused(changes, says):
    run = dfc2020.get_config()
    run.patience = 0
    run.update_from_flattened_dict(changes)
    schedules.check_plateau(run)  # no other schedule cares
    run.optimizer.schedule = "plateau"
    with pytest.raises(InputError, match=says):
        schedules.check_plateau(run)


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_poly_is_a_power_of_what_is_left(power):
    found = rates(schedules.LearningRate(0.1, warmup=4, total=20, schedule="poly", power=power), 21)
    np.testing.assert_allclose(found[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found[4:], 0.1 * (1 - np.arange(17) / 16) ** power, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("warmup", [6, 1, 0])
def test_one_cycle_rises_and_falls_by_half_cosines(warmup):
    found = rates(schedules.LearningRate(0.1, warmup=warmup, total=20, schedule="one_cycle"), 20)
    top = max(warmup - 1, 0)
    rise = 0.004 + (0.1 - 0.004) * 0.5 * (1 - np.cos(np.pi * np.arange(top) / max(top, 1)))
    fall = 4e-7 + (0.1 - 4e-7) * 0.5 * (1 + np.cos(np.pi * np.arange(20 - top) / (19 - top)))
    np.testing.assert_allclose(found, [*rise, *fall], rtol=1e-5, atol=1e-9)
    assert found.argmax() == top and found[-1] == pytest.approx(4e-7, rel=1e-2)


def test_every_schedule_can_be_named():
    assert config_fields.FIELDS["optimizer.schedule"].allowed.words == schedules.SCHEDULES
