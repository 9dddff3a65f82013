"""Labels of patches: against a count in plain Python, at the very edge of the share, and where nothing is labelled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from data_pipelines.schema.legends import IGNORE
from lcjax.ops import losses, patch_labels, patch_losses


def drawn(seed: int, patches=40, size=12, classes=5) -> np.ndarray:
    """Labels of pixels: patches of few and of many classes, some partly and the first two wholly without labels."""
    rng = np.random.default_rng(seed)
    labels = np.empty((patches, size, size), np.uint8)
    for k in range(patches):
        among = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
        labels[k] = rng.choice(among, (size, size))
    labels[rng.random(labels.shape) < rng.choice([0, 0.3, 0.9], patches)[:, None, None]] = IGNORE
    labels[:2] = IGNORE
    return labels


def test_labels_are_those_that_one_counts():
    labels = drawn(0)
    counts = jax.jit(lambda x: patch_labels.class_counts(x, 5))(labels)
    single, several = patch_labels.most_frequent(counts), patch_labels.covering(counts, 0.25)
    for k, patch in enumerate(labels):
        pixels = [int(label) for label in patch.ravel() if label != IGNORE]
        of_class = [pixels.count(c) for c in range(5)]
        assert counts[k].tolist() == of_class
        assert int(single[k]) == (of_class.index(max(of_class)) if pixels else IGNORE)
        expected = [int(4 * n >= len(pixels)) for n in of_class] if pixels else [IGNORE] * 5
        assert several[k].tolist() == expected
    assert {int(x) for x in single} == {0, 1, 2, 3, 4, IGNORE}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.125, 0.001, 1.0])
@pytest.mark.parametrize("pixels", [1000, 50_000, 2_000_000])
def test_a_class_that_covers_exactly_the_share_is_a_label(share, pixels):
    whole = round(share * pixels)
    counts = np.array([[whole, pixels - whole], [whole - 1, pixels - whole + 1]], np.int32)
    found = np.asarray(patch_labels.covering(counts, share))[:, 0].tolist()
    assert found == [int(1000 * n >= round(share * 1000) * pixels) for n in (whole, whole - 1)]


def test_single_labels_as_a_table():
    labels = jnp.array([1, IGNORE, 0], jnp.uint8)
    assert patch_labels.table(labels, 2).tolist() == [[0, 1], [IGNORE, IGNORE], [1, 0]]


def test_losses_of_patches_are_scikit_learn_s_and_ignore_what_has_no_label():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 4, (30, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 30).astype(np.uint8)
    labels[:4] = IGNORE
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = log_loss(labels[4:], probabilities[4:], labels=range(5))
    assert float(losses.cross_entropy(logits, labels)) == pytest.approx(expected, rel=1e-6)

    several = rng.integers(0, 2, (30, 5)).astype(np.uint8)
    several[:4] = IGNORE
    chances, truth = 1 / (1 + np.exp(-logits[4:].astype(np.float64))), several[4:]
    of_class = [log_loss(truth[:, k], chances[:, k], labels=[0, 1]) for k in range(5)]
    assert float(patch_losses.binary_cross_entropy(logits, several)) == pytest.approx(np.mean(of_class), rel=1e-6)
    weights = np.array([1, 0, 2, 0.5, 3], np.float32)
    weighted = np.average(of_class, weights=weights)
    assert float(patch_losses.binary_cross_entropy(logits, several, weights)) == pytest.approx(weighted, rel=1e-6)

    nothing = np.full_like(several, IGNORE)
    loss, gradient = jax.value_and_grad(patch_losses.binary_cross_entropy)(jnp.asarray(logits * 1e4), nothing)
    assert float(loss) == 0 and not np.asarray(gradient).any()
