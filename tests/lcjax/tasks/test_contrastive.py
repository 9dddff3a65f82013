"""The contrastive task: unit embeddings, sums that skip padding, one loss on 1 and 8 devices, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import batch, card_of, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine.eval_step import evaluation_step
from lcjax.ops import augment, losses
from lcjax.parallel import mesh as meshes


@pytest.fixture(scope="module")
def pair():
    return make(smallest("unet", task="contrastive"))


def places(size=16):
    config = smallest("unet", task="contrastive")
    drawn = batch(config, size, edge=48, seed=5)
    return {key: drawn[key] for key in ("s1", "s2", "corner", "example")} | {"valid": np.ones(size, bool)}


def test_embeddings_have_unit_length(pair):
    task, template, values, statistics = pair
    run = jax.jit(lambda images: template.merge(values, statistics, train=False)(task.views.to_embed(images)))
    found = run({key: places()[key] for key in ("s1", "s2")})
    assert set(found) == {"s1", "s2"}
    for embedding in found.values():
        assert embedding.shape == (16, task.config.projection)
        assert embedding.dtype == jnp.float32
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1.0, atol=1e-5)


def test_without_projections_it_is_the_pooled_feature():
    config = smallest("unet", task="contrastive")
    config.projection = 0
    task, template, values, statistics = make(config)
    assert {path.split("/")[0] for path in template.parameters} == {"encoders"}
    images = {key: places(4)[key] for key in ("s1", "s2")}

    def run(images):
        model = template.merge(values, statistics, train=False)
        floats = task.views.to_embed(images)
        features = {name: encoder(floats[name])[-1] for name, encoder in model.encoders.items()}
        return model(floats), task.embed(model, images), features

    unit, side_by_side, features = jax.device_get(jax.jit(run)(images))
    means = {name: feature.astype(np.float64).mean((1, 2)) for name, feature in features.items()}
    for name in ("s1", "s2"):
        expected = means[name] / np.linalg.norm(means[name], axis=1, keepdims=True)
        np.testing.assert_allclose(unit[name], expected, atol=1e-5)
    np.testing.assert_allclose(side_by_side, np.concatenate([means["s1"], means["s2"]], axis=1), atol=1e-5)


@pytest.mark.parametrize("task_name", ["contrastive", "segmentation"])
def test_speckle_and_jitter_are_of_training_alone(task_name):
    """By the programs: each setting changes that of the loss, none that of evaluations."""
    config = smallest("unet", "late", task=task_name)
    data = batch(config, 4) | {"valid": np.ones(4, bool)}
    losses_of, counts = set(), set()
    for setting in ({}, {"speckle": 4}, {"jitter": 0.2}):
        config.update({"speckle": 0, "jitter": 0.0} | setting)
        task, template, values, statistics = make(config)

        def loss(values, statistics, data, task=task, template=template):
            keys = augment.example_keys(0, jnp.int32(3), data["example"])
            return task.loss(template.merge(values, statistics, train=True), data, keys)[0]

        losses_of.add(jax.jit(loss).lower(values, statistics, data).as_text())
        counts.add(evaluation_step(task, template).lower(values, statistics, data).as_text())
    assert (len(losses_of), len(counts)) == (3, 1)


def test_padding_counts_nothing(pair):
    task, template, values, statistics = pair
    count = evaluation_step(task, template)
    data = places()
    data["valid"][11:] = False
    padded = jax.device_get(count(values, statistics, data))
    other = data | {"s1": data["s1"].copy(), "s2": data["s2"].copy()}
    other["s1"][11:] = 0
    other["s2"][11:] = 9999
    again = jax.device_get(count(values, statistics, other))
    assert padded["anchors"] == again["anchors"] == 22
    assert padded["hits"].tolist() == again["hits"].tolist()
    np.testing.assert_allclose(padded["loss_sum"], again["loss_sum"], rtol=1e-5)

    def alone(data):
        cut = augment.centre_crop(data, crop=task.config.crop)
        return template.merge(values, statistics, train=False)(task.views.to_embed(cut))

    first, second = jax.jit(alone)({key: data[key] for key in ("s1", "s2")}).values()
    loss, _ = losses.nt_xent(first[:11], second[:11], task.config.temperature)
    assert task.scores(padded)["loss"] == pytest.approx(float(loss), rel=1e-5)
    scores = task.scores(padded)
    assert scores["retrieval"] == pytest.approx(padded["hits"].sum() / 22)
    assert scores["retrieval/s1 to s2"] == pytest.approx(padded["hits"][0] / 11)
    assert scores["retrieval/s2 to s1"] == pytest.approx(padded["hits"][1] / 11)
    for key in ("distance_sum", "potential_sum", "pairs"):
        np.testing.assert_allclose(padded[key], again[key], rtol=1e-5)
    assert task.monitor in task.scores(padded)


def test_one_loss_on_one_and_on_eight_devices(pair):
    task, template, values, statistics = pair

    @jax.jit
    def loss(values, statistics, data):
        keys = augment.example_keys(0, jnp.int32(3), data["example"])
        return task.loss(template.merge(values, statistics, train=True), data, keys)

    data = places()
    del data["valid"]
    (one, extra), (eight, extra_of_eight) = (
        loss(values, statistics, meshes.global_batch(data, meshes.batch_sharding(meshes.make_mesh(devices, 1, 16))))
        for devices in (1, 8)
    )
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    np.testing.assert_allclose(extra_of_eight["retrieval"], extra["retrieval"], atol=1e-6)


def test_what_it_cannot_do_is_refused():
    config = smallest("unet", task="contrastive")
    config.fusion = "s2"
    with pytest.raises(InputError, match="the contrastive task needs two sensors: fusion='late'"):
        tasks.make(config, card_of(config))
    config = smallest("unet", task="contrastive")
    config.freeze = "encoder"
    with pytest.raises(InputError, match="the contrastive task trains all of its network"):
        tasks.make(config, card_of(config))
    config.freeze = ""
    config.resize = 32
    with pytest.raises(InputError, match=r"config\.resize=32: the contrastive task takes crops"):
        tasks.make(config, card_of(config))
    config.resize = 0
    config.evaluation_batch_size = 1
    with pytest.raises(InputError, match="evaluation_batch_size=1: the contrastive task compares places"):
        tasks.make(config, card_of(config))


def test_the_alarm_tells_a_collapse_and_nothing_else(pair):
    task = pair[0]
    generator = np.random.default_rng(0)
    for spread, collapsed in ((1e-3, True), (10.0, False)):
        views = 1 + spread * generator.standard_normal((2, 16, 8)).astype(np.float32)
        views /= np.linalg.norm(views, axis=-1, keepdims=True)
        _, sums = losses.nt_xent(jnp.asarray(views[0]), jnp.asarray(views[1]), 0.2)
        scores = task.scores(jax.device_get(sums))
        assert ("collapsed" in task.health_warning(scores)) == collapsed, scores


def test_views_of_any_size():
    config = smallest("vit_pyramid", task="contrastive")
    _, template, values, statistics = make(config)
    images = {"s1": jnp.zeros((2, 30, 41, 2)), "s2": jnp.zeros((2, 30, 41, 13))}
    found = jax.eval_shape(lambda values: template.merge(values, statistics, train=False)(images), values)
    assert {view.shape for view in found.values()} == {(2, config.projection)}
