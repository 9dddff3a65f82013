"""Temperature, calibration errors and conformal sets, against scikit-learn and plain numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from lcjax.ops import reliability

SHAPE = (2, 24, 30)
CLASSES = 5


def world(seed=0, sharpness=3.0, shape=SHAPE, truthful=1.0):
    """Logits (..., K) and labels drawn from their softmax at the temperature `truthful`; a tenth is not labelled."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (*shape, CLASSES)).astype(np.float32)
    chances = special.softmax(logits.astype(np.float64) / truthful, axis=-1)
    labels = (rng.random((*shape, 1)) > np.cumsum(chances, -1)[..., :-1]).sum(-1).astype(np.uint8)
    labels[rng.random(shape) < 0.1] = 255
    return logits, labels


def test_each_temperature_in_turn():
    logits, _ = world()
    found = np.asarray(reliability.softmax_at(jnp.asarray(logits), jnp.array([1.0, 0.5, 7.0])))
    assert found.shape == (*SHAPE, 3 * CLASSES)
    for place, temperature in enumerate((1.0, 0.5, 7.0)):
        expected = special.softmax(logits.astype(np.float64) / temperature, axis=-1)
        np.testing.assert_allclose(found[..., CLASSES * place :][..., :CLASSES], expected, atol=1e-6)
    np.testing.assert_array_equal(found[..., :CLASSES], jax.nn.softmax(jnp.asarray(logits)))  # what is written today


def ece(told, right):
    """Guo et al. 2017, eq. 5, with 15 bins of equal width, pixel by pixel."""
    bins = np.digitize(told, np.arange(1, 15) / 15, right=True)
    total = 0.0
    for one in range(15):
        inside = bins == one
        if inside.any():
            total += inside.mean() * abs(told[inside].mean() - right[inside].mean())
    return total


@pytest.mark.parametrize("truthful", [1.0, 2.5])
def test_the_calibration_error_is_that_of_every_pixel_by_itself(truthful):
    logits, labels = world(1, truthful=truthful)
    plain = special.softmax(logits, axis=-1)
    told = special.softmax(logits / 1.7, axis=-1)
    counts = jax.tree.map(np.asarray, jax.jit(reliability.count)(plain, told, labels))
    scored = labels != 255
    rounded = np.rint(told * 250)[scored].astype(np.float64) / 250
    truth, mapped = labels[scored], plain.argmax(-1)[scored]
    confidence = np.take_along_axis(rounded, mapped[:, None], 1)[:, 0]
    diagram = reliability.diagram(counts["confidence"].sum(0)[:, 0])
    assert diagram.pixels.sum() == scored.sum()
    assert diagram.error == pytest.approx(ece(confidence, mapped == truth), abs=1e-9)
    for place in range(CLASSES):
        one = reliability.diagram(counts["classes"].sum(0)[:, place])
        assert one.error == pytest.approx(ece(rounded[:, place], truth == place), abs=1e-9)
    own = np.take_along_axis(told[scored].astype(np.float64), truth[:, None], 1)
    assert counts["loss"].sum() / scored.sum() == pytest.approx(-np.log(own).mean(), rel=1e-6)


def test_the_diagram_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(5)
    level = rng.integers(126, 251, 4000)
    right = rng.random(4000) < (level / 250) ** 2
    told = np.stack([level, 250 - level], axis=-1)[None, None].astype(np.float32) / 250
    counts = reliability.count(told, told, np.where(right, 0, 1).astype(np.uint8)[None, None])
    found = reliability.diagram(np.asarray(counts["confidence"]).sum(0)[:, 0])
    # Theirs puts what lies on an edge into the bin above.
    true, mean = calibration_curve(right, level / 250 - 1e-9, n_bins=15)
    np.testing.assert_allclose(found.true[found.pixels > 0], true, atol=1e-12)
    np.testing.assert_allclose(found.told[found.pixels > 0], mean, atol=1e-8)


def test_nothing_labelled_counts_nothing():
    logits, labels = world()
    plain = special.softmax(logits, axis=-1)
    counts = reliability.count(plain, plain, np.full_like(labels, 255))
    assert not any(np.asarray(value).any() for value in counts.values())
    assert reliability.diagram(np.asarray(counts["confidence"]).sum(0)[:, 0]).error == 0
    assert not np.asarray(reliability.scores(plain, np.full_like(labels, 255))).any()


def test_certain_answers_cost_a_finite_loss():
    certain = np.zeros((1, 1, 2, CLASSES), np.float32)
    certain[..., 0] = 1
    labels = np.array([[[0, 1]]], np.uint8)
    counts = reliability.count(certain, certain, labels)
    assert float(counts["loss"].sum()) == pytest.approx(-np.log(1e-37), rel=1e-6)
    scores = np.asarray(reliability.scores(jnp.asarray(certain), labels))
    assert scores[0, -1] == 1 and scores[1, 0] == 1 and scores.sum() == 2


def test_a_threshold_is_the_quantile_of_finite_samples():
    """By sorting, as textbooks have it; a step of the log-odds below it at most."""
    rng = np.random.default_rng(7)
    probability = rng.beta(4, 1, 1000)
    odds = np.log(probability / (1 - probability))
    bins = ((odds + 32) * 128).astype(int)
    scores = np.stack([np.bincount(bins, minlength=reliability.SCORES), np.zeros(reliability.SCORES, int)])
    for coverage in (0.5, 0.9, 0.99):
        found, absent = reliability.thresholds(scores, coverage)
        exact = np.sort(probability)[::-1][int(np.ceil(1001 * coverage)) - 1]
        assert exact - 0.002 <= found <= exact and absent == 0
        assert (probability >= found).sum() >= np.ceil(1001 * coverage)
    nine = np.zeros((1, reliability.SCORES), int)
    nine[0, 4000:4009] = 1
    (found,) = reliability.thresholds(nine, 0.9)  # all nine are needed, and enough
    assert np.log(found / (1 - found)) == pytest.approx(4000 / 128 - 32)
    assert reliability.thresholds(nine, 0.91) == [0.0]  # with nine pixels nothing but every pixel is safe


def test_members_reach_their_threshold():
    probabilities = jnp.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0]])
    found = reliability.members(probabilities, np.array([0.4, 0.3, 0.0]))
    assert found.tolist() == [[True, True, True], [False, True, True]]


@pytest.mark.slow
def test_sets_hold_the_class_as_often_as_stated():
    """200 draws of validation and test of a network that is too sure of itself; every class within two points."""
    reached = []
    for draw in range(200):
        halves = [world(2 * draw + part, truthful=2.0, shape=(1, 60, 60)) for part in (0, 1)]
        (logits, labels), (other, truth) = halves
        told = special.softmax(logits, axis=-1)
        least = reliability.thresholds(np.asarray(reliability.scores(jnp.asarray(told), labels)), 0.9)
        members = reliability.members(jnp.asarray(special.softmax(other, axis=-1)), np.array(least))
        found = np.asarray(members)
        scored = truth != 255
        holds = np.take_along_axis(found[scored], truth[scored][:, None].astype(int), 1)[:, 0]
        reached.append([holds[truth[scored] == place].mean() for place in range(CLASSES)])
        counts = reliability.sets(members, truth)
        assert counts["covered"].tolist() == [holds[truth[scored] == place].sum() for place in range(CLASSES)]
        assert counts["sizes"].tolist() == np.bincount(found[scored].sum(-1), minlength=CLASSES + 1).tolist()
    assert np.abs(np.mean(reached, axis=0) - 0.9).max() < 0.02
