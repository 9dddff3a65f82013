"""config.remat: less is kept for the backward pass, nothing else changes."""

import math

import jax
import networks
import numpy as np
import pytest

MODELS = ["unet", "resnet18_unet", "swin_unet", "swin_upernet", "vit_pyramid"]


def losses(model: str, size: int = 2):
    """By config.remat: a function (parameters, statistics, batch) -> loss, new statistics; and arguments for it."""
    found = {}
    for remat in (False, True):
        config = networks.smallest(model, "early")
        config.remat = remat
        task, template, values, statistics = networks.make(config)
        found[remat] = _loss(task, template)
    return found, (values, statistics, networks.batch(config, size))


def _loss(task, template):
    def loss(parameters, statistics, batch):
        network = template.merge(parameters, statistics, train=True)
        keys_B = jax.random.split(jax.random.key(1), len(batch["label"]))
        return task.loss(network, batch, keys_B)[0], template.statistics_of(network)

    return loss


def kept(loss, values, statistics, batch) -> int:
    """Bytes that the backward pass takes from the forward pass."""

    def backward(parameters, *others):
        return jax.vjp(lambda parameters: loss(parameters, *others), parameters, has_aux=True)[1]

    leaves = jax.tree.leaves(jax.eval_shape(backward, values, statistics, batch))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.parametrize("model", MODELS)
def test_the_backward_pass_keeps_less(model):
    found, arguments = losses(model, 32)  # so many that the parameters do not count
    before, after = (kept(found[remat], *arguments) for remat in (False, True))
    assert after < 0.6 * before


@pytest.mark.parametrize("model", MODELS)
def test_the_compiler_may_not_undo_it(model):
    """What is computed again stands behind a barrier. (The compiler for CPUs takes barriers away; others heed them.)"""
    found, arguments = losses(model)
    texts = [jax.jit(jax.grad(found[remat], has_aux=True)).lower(*arguments).as_text() for remat in (False, True)]
    assert ["optimization_barrier" in text for text in texts] == [False, True]


def values_of(loss, arguments):
    return jax.device_get(jax.jit(jax.value_and_grad(loss, has_aux=True))(*arguments))


@pytest.mark.parametrize("model", ["resnet18_unet", "swin_unet"])
def test_gradients_and_statistics_stay_the_same(model):
    found, arguments = losses(model)
    (loss, statistics), gradient = values_of(found[False], arguments)
    (same, updated), again = values_of(found[True], arguments)
    assert loss == pytest.approx(same, rel=1e-6)
    assert statistics.keys() == updated.keys()
    for path, value in statistics.items():  # taken in once, although computed twice
        np.testing.assert_allclose(updated[path], value, rtol=1e-5, atol=1e-6, err_msg=path)
    for path, value in gradient.items():
        np.testing.assert_allclose(again[path], value, rtol=1e-3, atol=1e-5 + 1e-4 * np.abs(value).max(), err_msg=path)
