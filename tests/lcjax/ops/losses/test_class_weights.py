"""Weights of classes against scikit-learn and their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import plain_losses
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import losses

PIXELS = [900, 90, 10, 0]


def test_weighted_cross_entropy_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 5, 6, 4)).astype(np.float32)
    labels = generator.choice(5, (2, 5, 6), p=[0.6, 0.2, 0.1, 0.05, 0.05])
    pixels, seen = np.bincount(labels.ravel(), minlength=5)[:4], labels < 4
    weights = losses.class_weights(pixels, 1.0)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels[seen])
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    stored = jnp.asarray(np.where(seen, labels, IGNORE).astype(np.uint8))
    loss = jax.jit(losses.cross_entropy)(logits, stored, jnp.asarray(weights))
    share = plain_losses.softmax(logits[seen].astype(np.float64))
    np.testing.assert_allclose(loss, log_loss(labels[seen], share, sample_weight=weights[labels[seen]]), rtol=1e-5)


def test_class_weights_between_none_and_all():
    for power in (0.0, 0.25, 0.5):
        weights = losses.class_weights(PIXELS, power)
        np.testing.assert_allclose(weights[1] / weights[0], 10**power, rtol=1e-5)
        np.testing.assert_allclose((weights * np.array(PIXELS)).sum() / 1000, 1.0, rtol=1e-5)
        assert weights[3] == 0
    assert (losses.class_weights([0, 0], 0.5) == 0).all()  # nothing is labelled: nothing to learn, and no division


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1 - 1e-9])
def test_effective_numbers_are_those_of_the_formula(beta):
    weights = losses.effective_number_weights(PIXELS, beta)
    number = [sum(beta**i for i in range(pixels)) for pixels in PIXELS[:3]]  # (1 - beta^n) / (1 - beta), added up
    np.testing.assert_allclose(weights[:3] / weights[0], number[0] / np.array(number), rtol=1e-5)
    np.testing.assert_allclose((weights * np.array(PIXELS)).sum() / 1000, 1.0, rtol=1e-5)
    assert weights[3] == 0
    assert (losses.effective_number_weights([0, 0], beta) == 0).all()


def test_a_beta_of_1_is_refused():
    with pytest.raises(
        InputError, match=r"^config\.class_weights=1\.0: expected a beta below 1, such as 0\.9999, where"
    ):
        losses.effective_number_weights(PIXELS, 1.0)


def test_fixed_weights_are_taken_as_they_are():
    found = losses.fixed_weights((1, 2.5, 0, 7), PIXELS, "abcd")
    assert found.dtype == np.float32 and found.tolist() == [1, 2.5, 0, 7]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (
            (1, 2),
            r"^config\.class_weights_fixed=\(1, 2\): 2 weights; expected one for each of the 4 scored classes in ",
        ),
        ((1, 2, -1, 1), r"expected numbers from 0 to 1,000,000, one for each of the 4 scored .* legend: a, b, c, d$"),
        ((1, 2, float("nan"), 1), "expected numbers from 0"),
        ((1, 2, "3", 1), "expected numbers from 0"),
        ((1, 2, True, 1), "expected numbers from 0"),
        ((0, 0, 0, 1), r"no training pixel would count; expected a weight above 0 for one of the 4"),
    ],
)
def test_other_weights_are_refused(weights, says):
    with pytest.raises(InputError, match=says):
        losses.fixed_weights(weights, PIXELS, "abcd")
