"""Learning rates against PyTorch's schedulers."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, PolynomialLR

from lcjax.engine.schedule import LearningRate

STEPS, PEAK = 50, 0.1


def theirs(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=PEAK)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(found) < STEPS else None
    return found


@pytest.mark.parametrize(
    ("ours", "make"),
    [
        (LearningRate(PEAK, 15, STEPS, "one_cycle"), lambda one: OneCycleLR(one, PEAK, total_steps=STEPS)),
        (LearningRate(PEAK, 0, STEPS, "poly", 0.9), lambda one: PolynomialLR(one, STEPS, power=0.9)),
    ],
)
def test_rates_are_theirs(ours, make, note):
    found = np.array([float(ours(jnp.int32(step))) for step in range(STEPS)])
    difference = np.abs(found - theirs(make)).max()
    note(f"{ours.schedule}: {difference:.1e}")
    assert difference < 1e-6 * PEAK
