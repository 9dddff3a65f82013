"""Evaluation sums against numpy, padded examples, and that frozen means frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import batch, card_of, logged, make, smallest, trained

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine.eval_step import evaluation_step, sum_over_batches
from lcjax.ops import augment, losses
from lcjax.parallel import mesh as meshes


@pytest.fixture(scope="module")
def unet():
    return make(smallest("unet"))


def test_count_equals_numpy_and_padding_counts_nothing(unet):
    task, template, values, statistics = unet
    real = batch(smallest("unet"), 8, seed=3)
    real["valid"] = np.array([True] * 5 + [False] * 3)
    sums = jax.device_get(evaluation_step(task, template)(values, statistics, real))

    images = {name: real[name] for name in ("s1", "s2")}
    probabilities = jax.jit(lambda images: task.probabilities(template.merge(values, statistics, train=False), images))(
        images
    )
    np.testing.assert_allclose(np.sum(probabilities, axis=-1), 1.0, atol=1e-5)
    guess = np.argmax(probabilities, axis=-1)
    classes = [land_class.id for land_class in task.card.legend.scored]
    assert classes == [1, 2, 4, 5, 6, 7, 9, 10]
    expected = np.zeros((8, 8), np.int64)
    for row, identifier in enumerate(classes):
        for column in range(8):
            expected[row, column] = np.sum((real["label"][:5] == identifier) & (guess[:5] == column))
    np.testing.assert_array_equal(sums["confusion"], expected)
    assert sums["ignored"] == 5 * 32 * 32 - expected.sum()
    assert sums["ignored"] == np.sum(np.isin(real["label"][:5], [0, 255]))
    assert sums["ignored"] > 0
    assert task.scores(sums)["OA"] == pytest.approx(np.trace(expected) / expected.sum())
    assert task.monitor in task.scores(sums)


def test_tiles_that_are_made_smaller_are_seen_and_scored_at_that_size():
    """At half the size: means of two by two pixels, and the label of the first of them."""
    config = smallest("unet")
    config.update({"resize": 128, "crop": 0})  # of tiles of 256 px
    task, template, values, statistics = make(config)
    data = batch(config, 4, edge=64) | {"valid": np.array([True] * 3 + [False])}

    @jax.jit
    def small(images):
        floats = {s.name: augment.scale(images[s.name], s.scaling) for s in task.card.sensors}
        halved = {name: image.reshape(4, 32, 2, 32, 2, -1).mean((2, 4)) for name, image in floats.items()}
        return jax.nn.softmax(template.merge(values, statistics, train=False)(halved), axis=-1)

    images = {name: data[name] for name in ("s1", "s2")}
    seen = np.asarray(small(images))
    assert seen.shape == (4, 32, 32, 8)
    labels, guess = task.card.legend.index_of_id()[data["label"][:3, ::2, ::2]], seen[:3].argmax(-1)
    expected = [[np.sum((labels == row) & (guess == column)) for column in range(8)] for row in range(8)]
    sums = jax.device_get(evaluation_step(task, template)(values, statistics, data))
    np.testing.assert_array_equal(sums["confusion"], expected)
    assert sums["confusion"].sum() + sums["ignored"] == 3 * 32 * 32

    answer = jax.jit(lambda images: task.probabilities(template.merge(values, statistics, train=False), images))(images)
    assert answer.shape == (4, 64, 64, 8)  # maps are as large as scenes
    np.testing.assert_allclose(np.sum(answer, axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(answer.mean((1, 2)), seen.mean((1, 2)), atol=0.02)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"resize": 128}, r"config\.resize=128: makes whole tiles smaller, so config\.crop=32 and"),
        ({"resize": 128, "crop": 0, "window": 64}, r"config\.window=64 must be 0"),
        ({"resize": 512, "crop": 0}, r"config\.resize=512: expected at most the 256 px of a tile"),
        ({"resize": -1, "crop": 0}, r"config\.resize=-1: expected"),
    ],
)
def test_tiles_are_made_smaller_as_a_whole(changes, says):
    config = smallest("unet")
    config.update(changes)
    with pytest.raises(InputError, match=says):
        tasks.make(config, card_of(config))


def test_sums_over_batches_are_those_of_all_examples(unet):
    task, template, values, statistics = unet
    count = evaluation_step(task, template)
    sharding = meshes.batch_sharding(meshes.make_mesh(8, 1, 8))
    parts = [
        batch(smallest("unet"), 8, seed=seed) | {"ids": ["x"] * 8, "valid": np.ones(8, bool)} for seed in (1, 2, 3)
    ]
    total = sum_over_batches(count, values, statistics, iter(parts), sharding)
    alone = [sum_over_batches(count, values, statistics, [part], sharding) for part in parts]
    assert total["confusion"].dtype == np.int64
    np.testing.assert_array_equal(total["confusion"], sum(part["confusion"] for part in alone))
    assert total["ignored"] == sum(part["ignored"] for part in alone)
    assert total["confusion"].sum() + total["ignored"] == 3 * 8 * 32 * 32


@pytest.mark.parametrize("model", ["unet", "two_stream_swin"])
def test_frozen_encoders_stay_to_the_bit_while_the_rest_moves(model):
    _, before, after, metrics = trained(smallest(model, freeze="encoder"), devices=8, size=8, count=3)
    assert int(after.step) == 3
    assert np.isfinite(logged(jax.device_get(metrics))["loss"])
    assert metrics.keys() == {"loss", "OA", "learning_rate", "gradient_norm"}

    assert before.frozen.keys() == after.frozen.keys() != set()
    assert all(path.startswith("encoders/") for path in after.frozen)
    for path, value in after.frozen.items():
        np.testing.assert_array_equal(value, before.frozen[path], err_msg=path)
    assert not any(path.startswith("encoders/") for path in after.trainable)
    still = {path for path, value in after.trainable.items() if np.array_equal(value, before.trainable[path])}
    assert not still

    # The statistics of batch norm: those of the encoders stay, those of the decoder move.
    for path, value in after.statistics.items():
        assert np.array_equal(value, before.statistics[path]) == path.startswith("encoders/"), path
    assert bool(after.statistics) == (model == "unet")

    # The optimiser knows nothing of what is frozen.
    paths = {
        key.key
        for keys, _ in jax.tree_util.tree_leaves_with_path(after.opt_state)
        for key in keys
        if isinstance(key, jax.tree_util.DictKey)
    }
    assert paths == after.trainable.keys()


def test_an_unknown_task_is_refused():
    config = smallest("unet")
    config.task = "regression"
    with pytest.raises(
        InputError, match=r"config\.task='regression': expected one of segmentation, classification, contr"
    ):
        tasks.make(config, None)


class Linear(nnx.Module):
    """Logits that are linear in the bands."""

    def __call__(self, inputs, keys_B=None):
        return jnp.concatenate(list(inputs.values()), axis=-1)[..., :8]


def learned(**changes):
    """Loss and what is logged of a batch."""
    config = smallest("unet")
    config.update(changes)
    task = tasks.make(config, card_of(config))
    loss, values = task.loss(Linear(), batch(config, 4), jax.random.split(jax.random.key(0), 4))
    return float(loss), logged({key: value for key, value in values.items() if key != "weight"})


def test_each_loss_of_a_sum_is_logged_without_its_weight():
    alone = {loss: learned(loss=loss)[0] for loss in ("cross_entropy", "dice")}
    loss, shown = learned(loss="cross_entropy + 0.5 * dice")
    assert shown.keys() == {"OA", "loss", "loss/cross_entropy", "loss/dice"}
    assert shown["loss"] == pytest.approx(loss) == pytest.approx(alone["cross_entropy"] + 0.5 * alone["dice"])
    assert {name: shown[f"loss/{name}"] for name in alone} == pytest.approx(alone)
    assert learned(loss="0.5 * dice")[1].keys() == {"OA", "loss"}


def weights(pixels, **changes):
    config = smallest("unet")
    config.update(changes)
    card = card_of(config)
    card.splits["train"]["class_pixels"].update({str(c.id): n for c, n in zip(card.legend.scored, pixels, strict=True)})
    return tasks.make(config, card).weights


def test_weights_of_classes_are_those_that_the_config_names():
    pixels = [800, 10, 90, 100, 0, 0, 0, 0]
    assert weights(pixels) is None
    np.testing.assert_array_equal(weights(pixels, class_weights=0.5), losses.class_weights(pixels, 0.5))
    effective = weights(pixels, class_weights=0.99, class_weights_rule="effective_number")
    np.testing.assert_array_equal(effective, losses.effective_number_weights(pixels, 0.99))
    np.testing.assert_array_equal(weights(pixels, class_weights_fixed=tuple(range(8))), np.arange(8))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"class_weights_fixed": (1, 2)},
            r"^config\.class_weights_fixed=\(1, 2\): 2 weights; expected one for each of the 8",
        ),
        (
            {"class_weights_fixed": (1,) * 8, "class_weights": 1.0},
            r"^config\.class_weights=1\.0: config\.class_weights_fixed",
        ),
        (
            {"accumulate": 2, "loss": "focal + dice(over=batch)"},
            r"^config\.accumulate=2: config\.loss='focal \+ dice\(over=batch\)' takes dice over the whole batch",
        ),
    ],
)
def test_losses_and_weights_that_cannot_be_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        weights([1] * 8, **changes)
