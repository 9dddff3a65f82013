"""Tasks by name, what each declares of itself, and tasks and losses of other packages."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import batch, card_of, smallest

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Vector
from lcjax import tasks
from lcjax.ops import losses
from lcjax.profiling import memory_planner
from lcjax.tasks import vectors
from lcjax.tasks.segmentation import Segmentation

OUTSIDE = """
import jax.numpy as jnp
from lcjax.ops import losses
from lcjax.tasks import Task
from lcjax.tasks.segmentation import Segmentation

class Depth(Task):
    monitor = "closeness"
    def __init__(self, config, card):
        self.keys = tuple(sensor.name for sensor in card.sensors)
    def build(self, rngs): ...
    def loss(self, model, batch, keys_B): ...
    def eval_step(self, model, batch): ...
    def scores(self, sums): ...

def twice(logits, labels, weights):
    assert logits.dtype == jnp.float32 and labels.dtype == jnp.uint8
    return 2 * losses.cross_entropy(logits, labels, weights)

def of_each_pixel(logits, labels, weights):
    return logits[..., 0]

def rounded(logits, labels, weights):
    return losses.cross_entropy(logits, labels, weights).astype(jnp.bfloat16)
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package of somebody else's that this process allows."""
    (tmp_path / "outside_tasks.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "outside_tasks", raising=False)
    monkeypatch.setattr(plugins, "_allowed", {"outside_tasks"})


def test_what_the_tasks_declare():
    declared = {
        name: (task.can_map, task.can_classify, task.can_embed, task.splits_batches)
        for name, task in tasks.TASKS.items()
    }
    assert declared == {
        "segmentation": (True, False, False, True),
        "classification": (False, True, False, True),
        "contrastive": (False, False, True, False),
        "vicreg": (False, False, True, False),
        "masked": (False, False, True, True),
    }
    for name, task in tasks.TASKS.items():
        assert tasks.named(name) is task
        asked = {("can_map", "can_classify"): "probabilities", ("can_classify",): "labels", ("can_embed",): "embed"}
        for cans, what in asked.items():
            own = getattr(task, what) is not getattr(tasks.Task, what)
            assert own == any(getattr(task, can) for can in cans)


def test_who_counts_in_his_own_way_does_not_count_records_in_that_of_another():
    class Half(Segmentation):
        def eval_step(self, model, batch):
            return {key: value // 2 for key, value in super().eval_step(model, batch).items()}

    class Both(Half):
        def record_sums(self, model, batch, further=None):
            return {key: value // 2 for key, value in super().record_sums(model, batch, further).items()}

    class Loss(Segmentation):
        pass

    assert [task.counts_records for task in (Segmentation, Half, Loss)] == [True, False, True]
    assert not Both.counts_records and type("Own", (Both,), {"counts_records": True}).counts_records


def test_a_task_of_another_package_needs_no_more_than_it_declares(outside):
    config = smallest("unet")
    config.task = "outside_tasks:Depth"
    task = tasks.make(config, card_of(config))
    assert type(task).__name__ == "Depth" and task.keys == ("s1", "s2")
    assert (task.can_map, task.can_embed, task.splits_batches, task.vectors) == (False, False, True, ())
    assert task.check([], "") is None and task.split_warning([], "test") == task.health_warning({}) == ""
    for ask in (task.probabilities, task.embed):
        with pytest.raises(NotImplementedError, match=r"Depth\.can_"):
            ask(None, {})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os:system", r"^config\.task='os:system': comes from a file, which may not choose what is imported"),
        ("outside_tasks:twice", r"^config\.task='outside_tasks:twice': found <function .*expected a subclass of lcjax"),
        ("outside_tasks:losses", r"^config\.task='outside_tasks:losses': found <module .*expected a subclass of lcjax"),
    ],
)
def test_what_is_no_task_is_refused_by_name(outside, name, says):
    config = smallest("unet")
    config.task = name
    with pytest.raises(InputError, match=says):
        tasks.make(config, card_of(config))


@pytest.mark.parametrize("task", ["segmentation", "contrastive"])
@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("os:system", r"^config\.dataset='os:system': comes from a file"),
        ("gone", "^data set 'gone' is unknown; expected"),
    ],
)
def test_a_data_set_that_nobody_brings_along_is_refused_by_name(task, dataset, says):
    config = smallest("two_stream_swin", task=task)
    card = card_of(config)
    config.dataset = dataset
    with pytest.raises(InputError, match=says):
        tasks.make(config, card)


class Linear(nnx.Module):
    """Logits that are linear in the bands."""

    def __call__(self, inputs, keys_B=None):
        image = jnp.concatenate(list(inputs.values()), axis=-1)
        return image[..., :8] * jnp.float32(3)


def loss_of(name: str):
    config = smallest("unet")
    config.loss = name
    task = tasks.make(config, card_of(config))
    data = batch(config, 4)
    return task.loss(Linear(), data, jax.random.split(jax.random.key(0), 4))[0]


def test_the_loss_is_the_one_that_the_config_names(outside):
    one, two = loss_of("cross_entropy"), loss_of("outside_tasks:twice")
    assert one > 0
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os:system", r"^config\.loss='os:system': comes from a file"),
        (
            "outside_tasks:of_each_pixel",
            r"^config\.loss='outside_tasks:of_each_pixel': returned float32 of shape \(4, ",
        ),
        (
            "outside_tasks:rounded",
            r"^config\.loss='outside_tasks:rounded': returned bfloat16 of shape \(\), ",
        ),
    ],
)
def test_what_is_no_loss_is_refused_by_name(outside, name, says):
    with pytest.raises(InputError, match=says):
        loss_of(name)
    assert losses.REGISTRY.names()["cross_entropy"] == "built in"


def test_only_tasks_that_split_batches_are_planned_in_parts():
    lines = {remat: memory_planner.Line(0.0, 1.0) for remat in (False, True)}
    known = memory_planner.Sizes(state={1: 0}, gradient=0, image=0.0)
    parts = {
        name: {setting.parts for setting in memory_planner.candidates(config, lines, known, 4, 10**9)}
        for name, config in (("segmentation", smallest("unet")), ("contrastive", smallest("unet", task="contrastive")))
    }
    assert parts == {"segmentation": {1, 2, 4}, "contrastive": {1}}


def test_vectors_are_encoded_in_order_and_what_is_only_stored_is_not_shown(monkeypatch):
    place = Vector("place", ("x", "y"), "metres", "where it is", 3, lambda xy: jnp.array([xy[0], xy[1], xy[0] + xy[1]]))
    cloud, day = Vector("cloud", ("share",), "0 to 1"), Vector("day", ("day",), "1 to 366", "when", 1, lambda day: -day)
    monkeypatch.setattr(vectors.datasets, "vectors", lambda name: {"sky": (place, cloud, day), "fog": (cloud,)}[name])
    assert vectors.shown("sky") == (place, day)
    stored = {"day": jnp.array([[7.0], [8.0]]), "place": jnp.array([[1.0, 2.0], [3.0, 4.0]])}
    found = vectors.encode((place, day), stored)
    assert found.keys() == {vectors.INPUT}
    np.testing.assert_array_equal(found[vectors.INPUT], [[1, 2, 3, -7], [3, 4, 7, -8]])
    nowhere = vectors.unknown((place, day), 2)
    assert {name: array.shape for name, array in nowhere.items()} == {"place": (2, 2), "day": (2, 1)}
    assert np.isnan(vectors.encode((place, day), nowhere)[vectors.INPUT]).all()
    assert vectors.encode((), {}) == {}
    with pytest.raises(InputError, match=r"config\.metadata=True: fog holds cloud beside its images, needed is "):
        vectors.shown("fog")
