"""Where boundaries are, and which pixels are hard."""

import jax.numpy as jnp
import numpy as np
import plain_losses
import pytest

from data_pipelines.schema.legends import IGNORE
from lcjax.ops.losses import emphasis


@pytest.mark.parametrize("width", [1, 2, 5])
def test_boundaries_are_those_of_the_definition(width):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.repeat(generator.integers(0, 3, (2, 3, 4)), 6, axis=1), 5, axis=2).astype(np.uint8)
    labels[generator.random(labels.shape) < 0.1] = IGNORE
    found = np.asarray(emphasis.near_boundaries(labels, width))
    np.testing.assert_array_equal(found, [plain_losses.near_boundaries(mask, width) for mask in labels])
    assert width == 5 or 0 < found.sum() < (labels != IGNORE).sum()


def test_what_is_ignored_makes_no_boundary():
    labels = np.full((1, 4, 4), 2, np.uint8)
    labels[0, 1] = IGNORE
    assert not np.any(emphasis.near_boundaries(labels, 2))


def test_the_hardest_are_of_what_counts():
    """A class of weight 0 holds the hardest pixels, which would otherwise be all that is taken."""
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 4, 5, 3)).astype(np.float32)
    labels = generator.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    logits[labels == 1] -= [0, 9, 0]
    weights = np.array([1, 0, 2], np.float32)
    found = emphasis.ohem_cross_entropy(logits, labels, jnp.asarray(weights), threshold=0.0, share=0.3)
    expected = plain_losses.ohem_cross_entropy(0.0, 0.3)(logits.astype(np.float64), labels.astype(int), weights)
    assert expected > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5)
