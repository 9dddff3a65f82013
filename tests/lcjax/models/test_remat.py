"""config.remat: less is kept for the backward pass, nothing else changes."""

import functools
import math

import jax
import networks
import numpy as np
import pytest

# What networks.smallest takes: between them all kinds of parts, random branches, a still encoder, and both tasks.
CASES = {
    "unet transposed": {"model": "unet", "upsampling": "transposed"},
    "resnet18_unet, frozen encoder": {"model": "resnet18_unet", "freeze": "encoder"},
    "efficientnet_lite0_unet": {"model": "efficientnet_lite0_unet"},
    "swin_unet, drop path": {"model": "swin_unet", "drop_path": 0.5},
    "swin_upernet": {"model": "swin_upernet"},
    "vit_pyramid": {"model": "vit_pyramid"},
    "dual encoder, drop path": {"model": "two_stream_swin", "task": "contrastive", "drop_path": 0.5},
}


def losses(case: str, size: int = 2):
    """By config.remat: a function (trainable, frozen, statistics, batch, seed) -> loss, new statistics; arguments."""
    found = {}
    for remat in (False, True):
        config = networks.smallest(fusion="early", **CASES[case])
        config.remat, config.dihedral = remat, False  # what is drawn is for drop path alone
        task, template, values, statistics = networks.make(config)
        found[remat] = functools.partial(_loss, task, template)
    trainable = {path: value for path, value in values.items() if not template.is_frozen(path)}
    frozen = {path: value for path, value in values.items() if template.is_frozen(path)}
    return found, (trainable, frozen, statistics, networks.batch(config, size), 1)


def _loss(task, template, trainable, frozen, statistics, batch, seed):
    network = template.merge({**trainable, **frozen}, statistics, train=True)
    keys_B = jax.random.split(jax.random.key(seed), len(batch["label"]))
    return task.loss(network, batch, keys_B)[0], template.statistics_of(network)


def kept(loss, trainable, *others) -> int:
    """Bytes that the backward pass takes from the forward pass."""

    def backward(trainable, *others):
        return jax.vjp(lambda trainable: loss(trainable, *others), trainable, has_aux=True)[1]

    leaves = jax.tree.leaves(jax.eval_shape(backward, trainable, *others))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.parametrize("case", CASES)
def test_the_backward_pass_keeps_less(case):
    found, arguments = losses(case, 32)  # so many that the parameters do not count
    before, after = (kept(found[remat], *arguments) for remat in (False, True))
    assert after < 0.6 * before


@pytest.mark.parametrize("case", CASES)
def test_the_compiler_may_not_undo_it(case):
    """What is computed again stands behind a barrier. (The compiler for CPUs takes barriers away; others heed them.)"""
    found, arguments = losses(case)
    texts = [jax.jit(jax.grad(found[remat], has_aux=True)).lower(*arguments).as_text() for remat in (False, True)]
    assert ["optimization_barrier" in text for text in texts] == [False, True]


@pytest.mark.parametrize(
    "case",
    [
        "resnet18_unet, frozen encoder",
        "efficientnet_lite0_unet",
        "swin_unet, drop path",
        "dual encoder, drop path",
    ],
)
def test_gradients_and_statistics_stay_the_same(case):
    found, arguments = losses(case)
    before, after = (jax.jit(jax.value_and_grad(found[remat], has_aux=True)) for remat in (False, True))
    (loss, statistics), gradient = jax.device_get(before(*arguments))
    (same, updated), again = jax.device_get(after(*arguments))
    assert loss == pytest.approx(same, rel=1e-6)
    assert gradient.keys() == again.keys() == arguments[0].keys()
    for path, value in gradient.items():
        np.testing.assert_allclose(again[path], value, rtol=1e-3, atol=1e-5 + 1e-4 * np.abs(value).max(), err_msg=path)
    assert statistics.keys() == updated.keys() == arguments[2].keys()
    for path, value in statistics.items():  # taken in once, although computed twice
        np.testing.assert_allclose(updated[path], value, rtol=1e-5, atol=1e-6, err_msg=path)
        still = path.startswith("encoders/") and "frozen" in case
        assert np.array_equal(updated[path], arguments[2][path]) == still, path
    if "drop path" in case:  # drawn at all: with other numbers the loss is another
        assert float(before(*arguments[:-1], 2)[0][0]) != pytest.approx(float(loss), rel=2e-5)
