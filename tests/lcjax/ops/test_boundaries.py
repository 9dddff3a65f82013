"""Where boundaries are."""

import numpy as np
import plain_losses
import pytest

from data_pipelines.schema.legends import IGNORE
from lcjax.ops import boundaries


@pytest.mark.parametrize("width", [1, 2, 5])
def test_boundaries_are_those_of_the_definition(width):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.repeat(generator.integers(0, 3, (2, 3, 4)), 6, axis=1), 5, axis=2).astype(np.uint8)
    labels[generator.random(labels.shape) < 0.1] = IGNORE
    found = np.asarray(boundaries.near_boundaries(labels, width))
    np.testing.assert_array_equal(found, [plain_losses.near_boundaries(mask, width) for mask in labels])
    assert width == 5 or 0 < found.sum() < (labels != IGNORE).sum()


def test_what_is_ignored_makes_no_boundary():
    labels = np.full((1, 4, 4), 2, np.uint8)
    labels[0, 1] = IGNORE
    assert not np.any(boundaries.near_boundaries(labels, 2))
