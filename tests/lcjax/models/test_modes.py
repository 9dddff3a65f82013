"""Training and evaluation of the networks: statistics move or stay, frozen encoders stay, pre-training of every one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import batch, make, smallest

from lcjax.models import params, registry

# The others are the same program as one of these in the size that is used here: see test_overfit.py.
FAMILIES = sorted(registry.FAMILIES.keys() - {"resnet34_unet", "resnet101_unet", "two_stream_swin"})
KEYS = jax.random.split(jax.random.key(0), 4)


def after_a_call(config, *, train, slopes=True):
    """The template, statistics before and after a call, slopes of all parameters (unless they are not asked for), loss.

    Compiling the slopes is what takes the time.
    """
    task, template, values, statistics = make(config)
    config.crop, config.dihedral = 0, False
    fixed = batch(config, 4)

    def loss_of(values, statistics):
        network = template.merge(values, statistics, train=train)
        return task.loss(network, fixed, KEYS)[0], template.statistics_of(network)

    if not slopes:
        loss, moved = jax.jit(loss_of)(values, statistics)
        return template, statistics, moved, {}, float(loss)
    (loss, moved), found = jax.jit(jax.value_and_grad(loss_of, has_aux=True))(values, statistics)
    return template, statistics, moved, found, float(loss)


def equal(one, other):
    return {path for path in one if np.array_equal(one[path], other[path])}


@pytest.mark.parametrize("model", ["resnet50_unet", "efficientnet_lite0_unet", "swin_upernet"])
def test_statistics_move_while_training_and_frozen_encoders_keep_theirs(model):
    template, before, after, slopes, loss = after_a_call(smallest(model, "early", freeze="encoder"), train=True)
    kept = equal(before, after)
    assert kept == {path for path in before if path.startswith("encoders/")}
    assert before.keys() > kept
    # Convolutional encoders have statistics to keep; those of Swin have none.
    assert bool(kept) == (model != "swin_upernet")
    still = {path for path in slopes if template.is_frozen(path)}
    assert still == {path for path in slopes if path.startswith("encoders/")}
    assert np.isfinite(loss)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


@pytest.mark.parametrize("model", ["resnet50_unet", "efficientnet_lite0_unet", "unet"])
def test_statistics_of_encoders_are_kept_while_all_of_the_network_learns(model):
    config = smallest(model, "early")
    task, _, values, statistics = make(config)
    config.crop, config.dihedral = 0, False
    template = params.Template(task.build, freeze_statistics="encoder")
    assert not any(template.is_frozen(path) for path in template.parameters)
    fixed = batch(config, 4)

    def loss_of(values, statistics):
        network = template.merge(values, statistics, train=True)
        return task.loss(network, fixed, KEYS)[0], template.statistics_of(network)

    _, moved = jax.jit(loss_of)(values, statistics)
    assert equal(statistics, moved) == {path for path in statistics if path.startswith("encoders/")} != set()


@pytest.mark.parametrize("model", ["resnet50_unet", "efficientnet_lite0_unet"])
def test_all_statistics_move_while_training_and_none_in_evaluation(model):
    for train in (True, False):
        _, before, after, _, _ = after_a_call(smallest(model, "early"), train=train, slopes=False)
        assert equal(before, after) == (set() if train else before.keys())


@pytest.mark.parametrize("model", FAMILIES)
def test_every_encoder_can_be_pre_trained(model):
    config = smallest(model, task="contrastive")
    _, template, values, statistics = make(config)
    inputs = {"s1": jnp.zeros((3, 32, 32, 2)), "s2": jnp.zeros((3, 32, 32, 13))}
    shapes = jax.eval_shape(lambda: template.merge(values, statistics, train=False)(inputs))
    assert {sensor: shape.shape for sensor, shape in shapes.items()} == dict.fromkeys(("s1", "s2"), (3, 32))
    assert {shape.dtype for shape in shapes.values()} == {jnp.dtype("float32")}
    # The encoders of a segmentation network of late fusion are these, entry by entry.
    late = make(smallest(model, "late"))[1]
    for one, other in ((template.parameters, late.parameters), (template.statistics, late.statistics)):
        here, there = (
            {path: leaf.shape for path, leaf in flat.items() if path.startswith("encoders/")} for flat in (one, other)
        )
        assert here == there

    config.crop, config.dihedral = 0, False
    _, _, _, slopes, loss = after_a_call(config, train=True)
    assert np.isfinite(loss)
    assert loss > 0
    assert all(np.isfinite(slope).all() for slope in slopes.values())
    for sensor in ("s1", "s2"):
        reached = [path for path in slopes if path.startswith(f"encoders/{sensor}/") and np.any(slopes[path])]
        assert any(path.endswith("kernel") for path in reached), sensor
