"""Masked reconstruction: what is hidden, its loss against numpy in float64, and the encoder that is handed on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import batch, card_of, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine.eval_step import evaluation_step
from lcjax.models import params
from lcjax.ops import augment, losses
from lcjax.parallel import mesh as meshes

SIZE = 8


@pytest.fixture(scope="module")
def masked():
    return make(smallest("unet", task="masked"))


def places(config, edge=48):
    return batch(config, SIZE, edge=edge, seed=5) | {"valid": np.ones(SIZE, bool)}


def keys(step=3):
    return augment.example_keys(0, jnp.int32(step), jnp.arange(SIZE))


def by_loops(found, image, hidden, valid):
    """(mean error, sum of errors, that of the mean of what is shown, how many), a pixel at a time."""
    errors, references = [], []
    for i in np.flatnonzero(valid):
        for band in range(image.shape[-1]):
            mean = image[i, ..., band][~hidden[i]].mean()
            for row, column in np.argwhere(hidden[i]):
                errors.append(abs(found[i, row, column, band] - image[i, row, column, band]))
                references.append(abs(mean - image[i, row, column, band]))
    return np.mean(errors), np.sum(errors), np.sum(references), len(errors)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("valid", [np.ones(SIZE, bool), np.arange(SIZE) != 2], ids=["all", "padded"])
def test_the_loss_and_its_slope_equal_their_definition_on_any_devices(valid, devices):
    generator = np.random.default_rng(0)
    found, image = generator.standard_normal((2, SIZE, 4, 4, 3))
    hidden = generator.random((SIZE, 4, 4)) < 0.4
    expected, error, reference, count = by_loops(found, image, hidden, valid)
    mesh = meshes.make_mesh(devices, 1, SIZE)
    arrays = (found.astype(np.float32), image.astype(np.float32), hidden, valid)
    spread = jax.device_put(arrays, meshes.batch_sharding(mesh))
    (loss, sums), slope = jax.jit(jax.value_and_grad(losses.masked_l1, has_aux=True))(*spread)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for name, value in {"error_sum": error, "reference_sum": reference, "numbers": count}.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-5)
    counted = (hidden & valid[:, None, None])[..., None]
    np.testing.assert_allclose(slope, np.where(counted, np.sign(found - image), 0) / count, atol=1e-7)


def test_as_many_whole_squares_are_hidden_of_each_image_and_others_of_each(masked):
    task = masked[0]
    hidden = np.asarray(jax.jit(task.hidden)(keys()))
    assert hidden.shape == (SIZE, 32, 32)
    squares = hidden.reshape(SIZE, 4, 8, 4, 8)
    assert ((squares.all((2, 4))) == (squares.any((2, 4)))).all()
    assert (squares.any((2, 4)).sum((1, 2)) == round(0.6 * 16)).all()
    assert len({one.tobytes() for one in hidden}) == SIZE
    assert not np.array_equal(hidden, jax.jit(task.hidden)(keys(step=4)))
    many = jax.vmap(task.hidden)(jax.vmap(lambda step: keys(step))(jnp.arange(100)))
    share = np.asarray(many).reshape(-1, 4, 8, 4, 8).any((2, 4)).mean(0)
    np.testing.assert_allclose(share, 10 / 16, atol=5 * np.sqrt(0.25 / 800))  # each square is hidden as often


def test_what_is_hidden_changes_nothing_of_the_answer(masked):
    task, template, values, statistics = masked
    image = np.random.default_rng(0).random((2, 32, 32, 13)).astype(np.float32)
    hidden = np.asarray(task.hidden(keys()))[:2]
    other = np.where(hidden[..., None], np.float32(7), image)

    @jax.jit
    def run(image):
        return template.merge(values, statistics, train=False)(image, hidden)

    assert run(image).shape == image.shape
    np.testing.assert_array_equal(run(image), run(other))
    assert np.any(run(image) != run(image + 1))


def test_scores_are_the_loss_and_what_it_is_better_than_a_mean_and_padding_counts_nowhere(masked):
    task, template, values, statistics = masked
    step = evaluation_step(task, template)
    data = places(task.config)
    data["valid"][6:] = False
    sums, again = (jax.device_get(step(values, statistics, data)) for _ in range(2))
    assert sums == again  # what is hidden is the same in every evaluation
    other = data | {"s2": data["s2"].copy()}
    other["s2"][6:] = 0
    np.testing.assert_allclose(step(values, statistics, other)["error_sum"], sums["error_sum"], rtol=1e-5)
    scores = task.scores(sums)
    assert scores.keys() == set(task.score_names)
    assert scores["loss"] == pytest.approx(sums["error_sum"] / sums["numbers"])
    assert scores["skill"] == pytest.approx(1 - sums["error_sum"] / sums["reference_sum"])
    assert sums["numbers"] == 6 * 10 * 64 * 13


def test_the_encoder_is_that_of_a_run_on_the_sensor(masked):
    task, template, values, statistics = masked
    own = {path: leaf.shape for path, leaf in template.parameters.items() if path.startswith("encoders/")}
    other = make(smallest("unet", "s2"))[1].parameters
    assert own == {path: leaf.shape for path, leaf in other.items() if path.startswith("encoders/")}
    assert {path.split("/")[0] for path in values} == {"encoders", "hidden", "pixels"}
    data = {"s2": places(task.config, edge=32)["s2"]}

    def run(data):
        model = template.merge(values, statistics, train=False)
        image = augment.scale(data["s2"], task.card.sensors[0].scaling)
        return task.embed(model, data), model.encoders["s2"](image)[-1].mean((1, 2))

    found, expected = jax.jit(run)(data)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("model", ["swin_upernet", "vit_pyramid"])
def test_pixels_are_put_where_they_belong(model):
    """Where the last layer answers with numbers in order, each pixel has that of its place in its block."""
    config = smallest(model, task="masked")
    task = tasks.make(config, card_of(config))
    template = params.Template(task.build)
    values, statistics = template.initial_values(0)
    values["pixels/kernel"] = np.zeros_like(values["pixels/kernel"])
    values["pixels/bias"] = np.arange(values["pixels/bias"].size, dtype=np.float32)
    stride = int(np.sqrt(values["pixels/bias"].size / 13))

    @jax.jit
    def run(values, image, hidden):
        return template.merge(values, statistics, train=False)(image, hidden)

    image = run(values, np.zeros((1, 32, 30, 13), np.float32), np.zeros((1, 32, 30), bool))[0]
    rows, columns, bands = np.meshgrid(*map(np.arange, (32, 30, 13)), indexing="ij")
    np.testing.assert_array_equal(image, (rows % stride * stride + columns % stride) * 13 + bands)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("masked.square", 5, r"masked\.square=5, share=0\.6: expected squares that fill 32 px"),
        ("crop", 0, r"config\.crop=0: the masked task hides squares of a crop"),
        ("masked.square", 32, r"a share that hides some of them, and not all"),
        ("masked.share", 0.01, r"share=0\.01: expected squares"),
        ("fusion", "late", r"config\.fusion='late': the masked task has one encoder, and this fusion has s1, s2"),
        ("freeze", "encoder", r"config\.freeze='encoder': the masked task cannot use it"),
    ],
)
def test_what_it_cannot_do_is_refused(field, value, words):
    config = smallest("unet", task="masked")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=words):
        tasks.make(config, card_of(config))
