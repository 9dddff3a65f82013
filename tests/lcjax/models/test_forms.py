"""Forms by platform, and the plain one that asks for none."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from networks import make, smallest

from lcjax.models.kernels import forms


@pytest.mark.parametrize("model", ["swin_unet", "efficientnet_lite0_unet"])
def test_what_is_traced_plainly_asks_for_no_platform(model):
    _, template, values, statistics = make(smallest(model, "s2"))

    def traced(context):
        network = template.merge(values, statistics, train=False)
        with context:
            return str(jax.make_jaxpr(network)({"s2": jnp.zeros((1, 32, 32, 13))}))

    assert "platform_index" in traced(contextlib.nullcontext())
    assert "platform_index" not in traced(forms.plain())
    assert "platform_index" in traced(contextlib.nullcontext())  # the context has ended
