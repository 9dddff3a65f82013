"""Which pixels are hard."""

import jax.numpy as jnp
import numpy as np
import plain_losses

from lcjax.ops.losses import emphasis


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
