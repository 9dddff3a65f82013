"""VICReg and its gradient against plain numpy in float64."""

import jax
import numpy as np
import pytest

from lcjax.ops import losses
from lcjax.parallel import mesh as meshes

COEFFICIENTS = losses.Coefficients(25.0, 10.0, 1.5)
SIZE, CHANNELS = 16, 5
VALID = {"all": np.ones(SIZE, bool), "padded": np.arange(SIZE) % 5 != 1}


def views(seed=0):
    """Some dimensions vary by more than 1 and some by less, and they hang together."""
    generator = np.random.default_rng(seed)
    first = generator.standard_normal((SIZE, CHANNELS)) @ generator.normal(0, 0.5, (CHANNELS, CHANNELS)) + 3.0
    return np.stack([first, first + generator.normal(0, 0.4, first.shape) + 0.2])


def terms_by_definition(both, valid):
    """Equations 1 to 5 of the article, a number at a time; the distance also over dimensions, as in its Algorithm 1."""
    first, second = (view[valid].tolist() for view in both)
    places = len(first)
    apart = [(a - b) ** 2 for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)]
    variance = covariance = deviation = 0.0
    for view in (first, second):
        mean = [sum(row[j] for row in view) / places for j in range(CHANNELS)]
        matrix = [
            [sum((row[i] - mean[i]) * (row[j] - mean[j]) for row in view) / (places - 1) for j in range(CHANNELS)]
            for i in range(CHANNELS)
        ]
        deviations = [(matrix[j][j] + 1e-4) ** 0.5 for j in range(CHANNELS)]
        variance += sum(max(0.0, 1.0 - one) for one in deviations) / CHANNELS
        deviation += sum(deviations) / CHANNELS / 2
        covariance += sum(matrix[i][j] ** 2 for i in range(CHANNELS) for j in range(CHANNELS) if i != j) / CHANNELS
    named = {"invariance": sum(apart) / len(apart), "variance": variance, "covariance": covariance}
    return named | {"deviation": deviation}


def loss_by_definition(both, valid):
    terms = terms_by_definition(both, valid)
    return sum(factor * terms[name] for name, factor in COEFFICIENTS._asdict().items())


def spread(arrays, devices):
    mesh = meshes.make_mesh(devices, 1, SIZE)
    return jax.device_put(arrays, meshes.batch_sharding(mesh))


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("valid", VALID.values(), ids=VALID)
def test_vicreg_and_its_gradient_equal_their_definition_on_any_devices(valid, devices):
    both = views()
    expected = terms_by_definition(both, valid)
    assert min(expected.values()) > 0.05  # or the test would not tell

    def loss(first, second, valid):
        return losses.vicreg(first, second, COEFFICIENTS, valid)

    arrays = spread((*both.astype(np.float32), valid), devices)
    (found, terms), gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(*arrays)
    np.testing.assert_allclose(found, loss_by_definition(both, valid), rtol=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)
    slopes, step = np.zeros_like(both), 1e-6
    for place in [(view, row, column) for view in (0, 1) for row in (0, 1, 7) for column in range(CHANNELS)]:
        moved = np.zeros_like(both)
        moved[place] = step
        up, down = (loss_by_definition(both + sign * moved, valid) for sign in (1, -1))
        slopes[place] = (up - down) / (2 * step)
    for row in (0, 1, 7):
        np.testing.assert_allclose(np.stack(gradient)[:, row], slopes[:, row], rtol=1e-4, atol=1e-5)
    assert not np.any(np.stack(gradient)[:, ~valid])


@pytest.mark.parametrize("value", [1e4, np.nan])
def test_padding_counts_nowhere(value):
    both, valid = views().astype(np.float32), VALID["padded"]
    other = np.where(valid[None, :, None], both, np.float32(value))
    function = jax.jit(lambda both, valid: losses.vicreg(both[0], both[1], COEFFICIENTS, valid))
    alone, _ = losses.vicreg(*both[:, valid], COEFFICIENTS)
    for given in (both, other):
        np.testing.assert_allclose(function(given, valid)[0], alone, rtol=1e-6)


def test_without_a_mask_all_count_and_one_place_alone_has_no_deviation():
    both = views().astype(np.float32)
    one, two = losses.vicreg(*both, COEFFICIENTS), losses.vicreg(*both, COEFFICIENTS, VALID["all"])
    np.testing.assert_allclose(one[0], two[0], rtol=1e-6)
    loss, terms = losses.vicreg(*both[:, :1], COEFFICIENTS)
    assert float(terms["variance"]) == float(terms["covariance"]) == float(terms["deviation"]) == 0
    np.testing.assert_allclose(loss, 25 * np.square(both[0, 0] - both[1, 0]).mean(), rtol=1e-6)


def test_a_slope_leads_out_of_collapse():
    """Where all places are at one point but for dust, the variance pulls them apart with a finite slope."""
    dust = 1e-6 * np.random.default_rng(0).standard_normal((2, SIZE, CHANNELS)).astype(np.float32)
    gradient = jax.grad(lambda both: losses.vicreg(both[0], both[1], COEFFICIENTS)[0])(dust + 1)
    assert np.isfinite(gradient).all() and np.any(gradient)
