"""Pre-training on two views: VICReg beside NT-Xent on the same embeddings, and two augmentations of one sensor."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CLASSES, batch, card_of, make, smallest

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2
from lcjax import tasks
from lcjax.configs import pretrain
from lcjax.engine import experiment as experiments
from lcjax.engine import initial
from lcjax.engine.eval_step import evaluation_step
from lcjax.models import params
from lcjax.ops import augment, losses

SIZE = 8


@pytest.fixture(scope="module")
def vicreg():
    return make(smallest("unet", task="vicreg"))


@pytest.fixture(scope="module")
def augmented():
    return make(smallest("unet", task="contrastive", views="augmentations"))


def places(config, edge=48):
    return batch(config, SIZE, edge=edge, seed=5) | {"valid": np.ones(SIZE, bool)}


def keys(data, step=3):
    return augment.example_keys(0, jnp.int32(step), data["example"])


def test_vicreg_compares_projections_as_they_are_and_measures_unit_vectors(vicreg):
    task, template, values, statistics = vicreg
    assert values["projections/s1/out/kernel"].shape[1] == task.config.projection == 128
    data = places(task.config)
    data["valid"][6:] = False

    def run(values, statistics, data):
        model = template.merge(values, statistics, train=False)
        images = task.views.of_evaluation(data)
        return model.projected(images), model(images)

    (z1, z2), units = (list(one.values()) for one in jax.device_get(jax.jit(run)(values, statistics, data)))
    for z, unit in zip((z1, z2), units, strict=True):
        np.testing.assert_allclose(unit, z / np.linalg.norm(z, axis=1, keepdims=True), atol=1e-6)
    sums = jax.device_get(evaluation_step(task, template)(values, statistics, data))
    scores = task.scores(sums)
    loss, terms = losses.vicreg(z1[:6], z2[:6], losses.Coefficients(25.0, 25.0, 1.0))
    contrasted = losses.nt_xent(units[0][:6], units[1][:6], 0.2)[1]
    assert scores["loss"] == pytest.approx(float(loss), rel=1e-5)
    for name, value in terms.items():
        assert scores[name] == pytest.approx(float(value), rel=1e-5)
    assert scores["retrieval"] == pytest.approx(float(contrasted["hits"].sum() / 12))
    assert scores["alignment"] == pytest.approx(float(contrasted["distance_sum"] / 6), rel=1e-4)
    assert task.score_names and set(task.score_names) == set(scores)
    assert set(task.lower_is_better) < set(scores) and "deviation" not in task.lower_is_better


def test_vicreg_over_several_batches_is_their_mean_by_places(vicreg):
    """A last batch of one place has no deviation, and does not count in the terms; it does in retrieval."""
    task, template, values, statistics = vicreg
    step = evaluation_step(task, template)
    data = places(task.config)
    full = jax.device_get(step(values, statistics, data))
    part = jax.device_get(step(values, statistics, data | {"valid": np.arange(SIZE) < 1}))
    assert (full["compared"], part["compared"], part["anchors"]) == (8, 0, 2)
    together = task.scores({name: full[name] + part[name] for name in full})
    for name in ("loss", "invariance", "variance", "covariance", "deviation"):
        assert together[name] == pytest.approx(task.scores(full)[name], rel=1e-6)


def test_vicreg_warns_of_a_collapse_and_of_nothing_else(vicreg):
    task = vicreg[0]
    assert task.health_warning({"deviation": 0.7, "uniformity": -0.01}) == ""  # a common offset is no collapse
    assert "deviation 0.020 of a dimension, where 1 is wanted" in task.health_warning({"deviation": 0.02})


@pytest.mark.parametrize(("records", "words"), [(1, "it holds 1 places"), (0, "it holds 0 places"), (2, "")])
def test_one_place_alone_cannot_watch(augmented, records, words):
    task = augmented[0]
    split = {"spec": "unlabelled[90%:]", "records": records}
    there = tasks.make(task.config, dataclasses.replace(task.card, splits=task.card.splits | {"validation": split}))
    learned = range(task.config.batch_size)
    if not words:
        there.check(learned, "data")
        return
    with pytest.raises(InputError, match=rf"config.split.validation='unlabelled\[90%:\]': {words}"):
        there.check(learned, "data")


def test_two_augmentations_go_through_one_encoder_of_the_sensor_s_name(augmented):
    task, template, _, _ = augmented
    assert {path.split("/")[1] for path in template.parameters} == {"s2"}
    assert {path.split("/")[0] for path in template.parameters} == {"encoders", "projections"}
    assert (task.keys, task.cuts_on_device) == (("s2",), True)
    # As those of a run on this sensor alone.
    other = make(smallest("unet", "s2"))[1]
    own = {path: one.shape for path, one in template.parameters.items() if path.startswith("encoders")}
    assert own == {path: one.shape for path, one in other.parameters.items() if path.startswith("encoders")}


def test_the_two_views_are_draws_of_their_own_that_follow_from_the_key(augmented):
    task = augmented[0]
    data = places(task.config)
    draw = jax.jit(lambda data, keys: task.views.of_training(data, keys))
    first, second = draw(data, keys(data)).values()
    again, after = draw(data, keys(data)), draw(data, keys(data, step=4))
    assert first.shape == second.shape == (SIZE, 32, 32, 13)
    for one in range(SIZE):
        assert np.abs(first[one] - second[one]).max() > 0.05
        assert np.abs(first[one] - after["first"][one]).max() > 0.01
    np.testing.assert_array_equal(first, again["first"])
    # Of each example by its own key, whatever stands beside it.
    backwards = {key: value[::-1] for key, value in data.items()}
    np.testing.assert_allclose(draw(backwards, keys(data)[::-1])["second"][::-1], second, atol=1e-6)


def test_crops_of_both_views_come_from_anywhere_in_the_tile():
    config = smallest("unet", task="contrastive", views="augmentations")
    config.update({"dihedral": False, "jitter": 0.0, "augmentation": {"scale": (1.0, 1.0), "contrast": 0.0}})
    config.augmentation.brightness = 0.0
    task = make(config)[0]
    size, edge = 64, 36
    ramp = np.broadcast_to(np.arange(edge)[:, None] * 100 + np.arange(edge), (edge, edge))
    data = {"s2": np.broadcast_to(ramp[None, :, :, None], (size, edge, edge, 13)).astype(np.uint16)}
    data |= {"corner": np.zeros((size, 2), np.int32), "example": np.arange(size, dtype=np.uint32)}
    views = jax.jit(lambda data, keys: task.views.of_training(data, keys))(data, keys(data))
    corners = [np.rint(np.asarray(view)[:, 0, 0, 0] * 10_000).astype(int) for view in views.values()]
    for one in corners:
        assert {*(one // 100)} == {*(one % 100)} == set(range(5))  # 36 - 32, and 0
    assert 0.01 < np.mean(corners[0] == corners[1]) < 0.15  # 1 of 25


def test_evaluations_draw_the_same_views_each_time_and_two_different_ones(augmented):
    task, template, values, statistics = augmented
    data = places(task.config)
    images = jax.jit(task.views.of_evaluation)(data)
    assert np.abs(images["first"] - images["second"]).max() > 0.05
    data["valid"][6:] = False
    step = evaluation_step(task, template)
    once, again = (jax.device_get(step(values, statistics, data)) for _ in range(2))
    assert {key: value.tolist() for key, value in once.items()} == {key: v.tolist() for key, v in again.items()}
    assert once["anchors"] == 12
    assert "retrieval/first to second" in task.scores(once)


def test_what_is_embedded_is_the_whole_image_as_it_is_once(augmented):
    task, template, values, statistics = augmented
    data = {"s2": places(task.config, edge=32)["s2"]}

    def run(values, statistics, data):
        model = template.merge(values, statistics, train=False)
        image = augment.scale(data["s2"], task.card.sensors[0].scaling)
        return task.embed(model, data), model.encoders["s2"](image)[-1].mean((1, 2))

    found, expected = jax.jit(run)(values, statistics, data)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def of_dates(fusion="dates:s2_before+s2_after", views="dates"):
    config = smallest("unet", task="contrastive")
    config.fusion, config.views = fusion, views
    dates = [dataclasses.replace(S2, name=name) for name in ("s2_before", "s2_after")]
    return config, experiments.card_without_data(config, [S1, *dates], CLASSES, 256, "rasters/floods")


def test_two_dates_go_through_one_encoder_and_one_head():
    config, card = of_dates()
    task = tasks.make(config, card)
    template = params.Template(task.build)
    assert {tuple(path.split("/")[:2]) for path in template.parameters} == {("encoders", "s2"), ("projections", "s2")}
    assert task.keys == ("s2_before", "s2_after")
    images = places(smallest("unet", "s2"), edge=32)["s2"]
    batch = {"s2_before": images, "s2_after": images[::-1], "valid": np.ones(SIZE, bool)}
    values, statistics = template.initial_values(0)

    def run(values, statistics, batch):
        model = template.merge(values, statistics, train=False)
        return model(task.views.of_evaluation(batch)), task.embed(model, batch)

    views, pooled = jax.jit(run)(values, statistics, batch)
    np.testing.assert_allclose(views["s2_before"], views["s2_after"][::-1], atol=1e-5)
    assert np.abs(views["s2_before"] - views["s2_after"]).max() > 1e-3
    width = pooled.shape[1] // 2
    np.testing.assert_allclose(pooled[:, :width], pooled[::-1, width:], atol=1e-5)


def test_streams_of_dates_begin_with_the_encoder_of_both_and_say_so():
    config, card = of_dates()
    template = params.Template(tasks.make(config, card).build)
    learned = {path: value + 1 for path, value in (template.initial_values(0)[0]).items()}
    statistics = {path: value + 1 for path, value in (template.initial_values(0)[1]).items()}
    other = initial._Other(card, learned | statistics, template.groups, "runs/dates")
    config = smallest("unet", "late")
    own_card = experiments.card_without_data(config, card.sensors, CLASSES, 256, "rasters/floods")
    own = params.Template(tasks.make(config, own_card).build)
    values = {path: value for part in own.initial_values(1) for path, value in part.items()}
    found, arrival = initial._of_ours(other, own_card, own, values)
    for name in ("s2_before", "s2_after"):
        start = f"encoders/{name}/"
        for path in (path for path in values if path.startswith(start)):
            np.testing.assert_array_equal(found[path], other.arrays[f"encoders/s2/{path.removeprefix(start)}"])
        assert f"encoders/{name} begins with encoders/s2 there" in arrival.note
    assert {path.split("/")[0] for path in arrival.unused} == {"projections"}


@pytest.mark.parametrize(
    ("fusion", "views", "words"),
    [
        (
            "late:s2_before+s2_after",
            "dates",
            "config.views='dates' compares two dates of one sensor; name them as dates",
        ),
        ("s2_after", "dates", "config.views='dates' compares two dates of one sensor"),
        ("dates:s2_before+s2_after", "sensors", "one encoder for several dates is for pre-training with config.views="),
        ("dates:s2_before+s2_after", "augmentations", "one encoder for several dates is for pre-training"),
    ],
)
def test_dates_and_fusion_must_go_together(fusion, views, words):
    with pytest.raises(InputError, match=words):
        tasks.make(*of_dates(fusion, views))


def test_the_arguments_of_the_config_name_the_fusion():
    fusions = {
        "": "late",
        "sensors=a+b": "late:a+b",
        "views=dates,sensors=a+b": "dates:a+b",
        "views=dates": "dates",
        "views=augmentations": "s2",
        "views=augmentations,sensors=s1": "s1",
        "views=augmentations,sensors=a+b": "early:a+b",
        "views=augmentations,data=rasters/town": "",
    }
    assert {argument: pretrain.get_config(argument).fusion for argument in fusions} == fusions


@pytest.mark.parametrize(
    ("fusion", "views", "words"),
    [
        ("early", "sensors", r"config\.fusion='early': the contrastive task needs two sensors: fusion='late'"),
        ("late", "augmentations", r"config\.fusion='late': config\.views='augmentations' has one encoder, .* s1, s2"),
    ],
)
def test_views_and_fusion_must_go_together(fusion, views, words):
    config = smallest("unet", task="contrastive")
    config.fusion, config.views = fusion, views
    with pytest.raises(InputError, match=words):
        tasks.make(config, card_of(config))


def test_both_sensors_side_by_side_are_an_image_of_one_encoder():
    config = smallest("unet", task="contrastive", views="augmentations")
    config.fusion = "early"
    task, template, *_ = make(config)
    assert template.parameters["encoders/s1_s2/levels/0/conv1/kernel"].shape[2] == 15
    data = places(config)
    first, _ = jax.eval_shape(lambda data: task.views.of_training(data, keys(data)), data).values()
    assert first.shape == (SIZE, 32, 32, 15)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("objective=barlow", "objective=barlow: expected one of nt_xent, vicreg, masked"),
        ("views=crops", "views=crops: expected one of sensors, dates, augmentations"),
        ("objective=masked,views=dates", "objective=masked,views=dates: it is shown one image, and compares no views"),
        ("objective=vicreg,recipe=report", "objective=vicreg,views=sensors,recipe=report: the reference has no such"),
    ],
)
def test_other_arguments_are_refused(argument, words):
    with pytest.raises(InputError, match=words):
        pretrain.get_config(argument)
