"""Numbers beside images: encoded on the device, dropped and forgotten by key, learned from, carried by every verb."""

import dataclasses
import functools
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from flax import nnx
from networks import SMALLEST, card_of, make, small, smallest

from data_pipelines.datasets.flair1.metadata import ENCODED, UNKNOWN, encode
from data_pipelines.prepare import prepare
from data_pipelines.reading import dataset
from data_pipelines.reading.arrays import from_arrays
from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.configs import flair1
from lcjax.engine import optimizer as optimizers
from lcjax.engine import restore
from lcjax.engine.eval_step import evaluation_step
from lcjax.engine.schedule import LearningRate
from lcjax.engine.state import initial_state
from lcjax.engine.train_step import compile_train_step, train_step
from lcjax.evaluation import elsewhere, evaluate
from lcjax.mapping import mapper, options, scene
from lcjax.models import metadata, params, registry
from lcjax.models.interfaces import whole
from lcjax.parallel import mesh as meshes
from lcjax.training.run import train


def numbers(count: int, seed: int = 0) -> np.ndarray:
    """Metadata (count, 8) as stored, all over France."""
    generator = np.random.default_rng(seed)
    lowest, highest = [1e5, 6.05e6, 0, 0, 2018, 1, 1, 0], [1.24e6, 7.1e6, 3165, 2, 2022, 13, 32, 1440]
    drawn = generator.uniform(lowest, highest, (count, 8))
    return np.concatenate([drawn[:, :3], np.floor(drawn[:, 3:])], axis=1)


def config_of(*, told: bool = True):
    config = flair1.get_config(f"tiny=true,metadata={told}")
    config.model.update(SMALLEST["unet"])
    config.crop = 32
    return config


def batch_of(count: int, seed: int = 0, edge: int = 32) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "aerial": generator.integers(0, 256, (count, edge, edge, 5), np.uint8),
        "label": generator.integers(1, 13, (count, edge, edge), np.uint8),
        "metadata": numbers(count, seed),
        "example": np.arange(count, dtype=np.uint32),
        "corner": np.zeros((count, 2), np.int32),
        "valid": np.ones(count, bool),
    }


def test_what_is_encoded_on_the_device_is_what_is_encoded_on_the_host():
    stored = numbers(2000)
    stored[:8][np.eye(8, dtype=bool)] = np.nan  # each number once not known
    here = np.stack([encode(vector) for vector in stored])
    there = np.asarray(jax.jit(jax.vmap(encode))(stored))
    assert here.shape == (2000, ENCODED) and here.dtype == there.dtype == np.float32
    np.testing.assert_allclose(there, here, rtol=0, atol=4e-7)
    assert np.isnan(jax.vmap(encode)(np.array([UNKNOWN]))).all()


def network(name: str, told: int):
    """A network of two streams with 3 classes, as a function of parameters and inputs; and its parameters."""

    def build(rngs):
        return registry.segmenter(
            registry.sized(name, "tiny") | SMALLEST.get(name, {}),
            streams=whole({"a": 2, "b": 1}),
            classes=3,
            precision="f32",
            metadata=told,
            rngs=rngs,
        )

    template = params.Template(build)
    values, statistics = (params.init_params(shapes, 0) for shapes in (template.parameters, template.statistics))
    return jax.jit(lambda values, inputs: template.merge(values, statistics, train=False)(inputs)), values


@pytest.mark.parametrize("name", ["unet", "swin_unet"])
def test_a_branch_adds_to_both_encoders_and_nothing_where_its_weights_are_zero(name):
    generator = np.random.default_rng(0)
    images = {key: jnp.asarray(generator.normal(size=(2, 40, 33, n)), jnp.float32) for key, n in (("a", 2), ("b", 1))}
    told = images | {"metadata": np.stack([encode(vector) for vector in numbers(2)])}
    with_branch, values = network(name, ENCODED)
    without, fewer = network(name, 0)
    own = values.keys() - fewer.keys()
    assert own == {
        f"metadata/{layer}/{part}"
        for layer in ("hidden/0", "hidden/1", "out/a", "out/b")
        for part in ("kernel", "bias")
    }
    assert [values[f"metadata/hidden/{i}/kernel"].shape for i in (0, 1)] == [(45, 64), (64, 32)]

    plain = np.asarray(without(fewer, images))
    silent = {path: np.zeros_like(values[path]) for path in own if "/out/" in path}
    np.testing.assert_allclose(with_branch(values | silent, told), plain, atol=1e-6)
    for stream in ("a", "b"):
        other = {path: value for path, value in silent.items() if f"/out/{stream}/" not in path}
        assert np.abs(np.asarray(with_branch(values | other, told)) - plain).max() > 1e-4


def branch(*, train: bool) -> metadata.MetadataBranch:
    made = metadata.MetadataBranch(ENCODED, {"s": 7}, rngs=nnx.Rngs(0))
    getattr(made, "train" if train else "eval")()
    return made


@functools.cache
def answers(*, train: bool):
    """The branch as a compiled function of encoded numbers and keys."""
    made = branch(train=train)
    return jax.jit(lambda x, keys: made(x, keys)["s"])


def test_draws_depend_on_the_example_s_key_alone_and_evaluation_makes_none():
    encoded = np.stack([encode(vector) for vector in numbers(64)])
    keys = jax.random.split(jax.random.key(3), 64)
    drawn = np.asarray(answers(train=True)(encoded, keys))
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_allclose(answers(train=True)(encoded[order], keys[order]), drawn[order], atol=1e-6)
    assert np.abs(answers(train=True)(encoded, jax.random.split(jax.random.key(4), 64)) - drawn).max() > 0.1

    plain = np.asarray(answers(train=False)(encoded, None))
    np.testing.assert_allclose(answers(train=False)(encoded, keys), plain, atol=1e-6)
    np.testing.assert_allclose(answers(train=True)(encoded, None), plain, atol=1e-6)
    assert np.abs(drawn - plain).max() > 0.1


def test_how_much_is_dropped_and_forgotten():
    known, *layers = jax.jit(branch(train=True)._factors)(jax.random.split(jax.random.key(0), 4000))
    assert known.shape == (4000, 1) and np.mean(known) == pytest.approx(0.9, abs=0.02)
    assert [factor.shape for factor in layers] == [(4000, 64), (4000, 32)]
    for factor in layers:
        assert np.mean(factor == 0) == pytest.approx(0.4, abs=0.01)
        assert np.mean(factor) == pytest.approx(1.0, abs=0.02)


def test_unknown_numbers_are_zeros_to_the_network_and_gradients_are_finite():
    half = np.stack([encode(vector) for vector in numbers(64)])
    half[:, :20] = np.nan
    np.testing.assert_array_equal(answers(train=False)(half, None), answers(train=False)(np.nan_to_num(half), None))

    task, template, values, statistics = make(config_of())
    batch = batch_of(4)
    batch["metadata"][0], batch["metadata"][1, :3] = np.nan, np.nan

    @jax.jit
    def gradient(values, statistics, keys_B):
        return jax.grad(lambda v: task.loss(template.merge(v, statistics, train=True), batch, keys_B)[0])(values)

    found = gradient(values, statistics, jax.random.split(jax.random.key(0), 4))
    assert all(np.isfinite(leaf).all() for leaf in found.values())
    assert all(np.abs(leaf).max() > 0 for path, leaf in found.items() if path.startswith("metadata/"))


def test_labels_that_metadata_alone_tells_are_learned(monkeypatch):
    """All images are alike; half of the patches were taken in the winter of 2018, half in the summer of 2021.

    Without dropout, under which so short a run learns on one machine and does not on another.
    """
    monkeypatch.setattr(metadata, "DROPOUT", 0.0)
    monkeypatch.setattr(metadata, "FORGOTTEN", 0.0)
    config = config_of()
    config.crop = 16
    task, template, values, statistics = make(config)
    mesh = meshes.make_mesh(1, 1, 8)
    optimizer = optimizers.make_optimizer(config.optimizer)
    state = initial_state(template, values, statistics, optimizer, mesh)
    batch = batch_of(16, edge=16)
    batch["aerial"][:] = batch["aerial"][:1]
    batch["metadata"][:, 3:] = [[0, 2018, 1, 1, 480], [1, 2021, 7, 20, 960]] * 8
    batch["label"][:] = np.array([1, 5] * 8)[:, None, None]
    shown = {key: batch[key] for key in (*task.keys, "corner", "example")}
    shown = meshes.global_batch(shown, meshes.batch_sharding(mesh))
    rate = LearningRate(1e-2, 0, 80, "cosine")
    step = compile_train_step(train_step(task, template, optimizer, rate, 0), state, shown)
    for _ in range(80):
        state, _ = step(state, shown)
    count = evaluation_step(task, template)

    def accuracy(**changes) -> float:
        return task.scores(jax.device_get(count(state.trainable, state.statistics, batch | changes)))["OA"]

    assert accuracy() > 0.95
    assert accuracy(metadata=batch["metadata"][::-1].copy()) < 0.05
    assert accuracy(metadata=np.full((16, 8), np.nan)) == 0.5


def test_blended_windows_and_turned_images_see_the_same_numbers(tmp_path):
    config = config_of()
    config.window = 32
    task, template, values, statistics = make(config)
    values = {path: np.float32(20) * x if path.startswith("metadata/") else x for path, x in values.items()}
    network = restore.Trained(config, card_of(config), 1, task, template, values, statistics)
    batch = {key: value for key, value in batch_of(2, edge=48).items() if key in ("aerial", "metadata")}
    told = np.asarray(network.probabilities()(batch))
    untold = np.asarray(network.probabilities()({"aerial": batch["aerial"]}))
    nowhere = np.asarray(network.probabilities()(batch | {"metadata": np.full((2, 8), np.nan)}))
    np.testing.assert_array_equal(untold, nowhere)
    assert np.abs(told - untold).max() > 1e-2

    def mean(which):
        total = 0
        for turn in range(4):
            for flip in (False, True):
                image = np.rot90(batch["aerial"], turn, (1, 2))
                answer = np.asarray(network.probabilities()(which | {"aerial": image[:, ::-1] if flip else image}))
                total = total + np.rot90(answer[:, ::-1] if flip else answer, -turn, (1, 2))
        return total / 8

    np.testing.assert_allclose(network.probabilities(tta=True)(batch), mean(batch), atol=1e-5)


def test_other_data_and_the_contrastive_task_are_refused():
    config = smallest("unet")
    config.metadata = True
    says = r"config\.metadata=True: dfc2020 holds nothing beside its images, needed is metadata \(x, y, .*which flair1 "
    with pytest.raises(InputError, match=says):
        tasks.make(config, card_of(config))
    config = smallest("two_stream_swin", task="contrastive")
    config.metadata = True
    with pytest.raises(InputError, match=r"config\.metadata=True: the contrastive task takes images alone"):
        tasks.make(config, card_of(config))


@pytest.fixture(scope="module")
def flair(sample, tmp_path_factory):
    """Four patches with metadata, prepared."""
    folder = tmp_path_factory.mktemp("flair")
    prepare.prepare("flair1", sample, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def run(flair, tmp_path_factory):
    """Config and workdir of a network that took metadata for four steps."""
    folder = tmp_path_factory.mktemp("runs") / "flair"
    config = small(flair1.get_config("tiny=true,metadata=true"), flair, steps=4)
    config.split.validation = ""
    train(config, folder)
    return config, folder


def test_a_run_that_is_gone_on_with_ends_in_the_same_bits(run, tmp_path):
    config, folder = run
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    for kind in ("last", "best"):
        shutil.rmtree(again / "checkpoints" / kind / "4")
    train(config, again)
    one, other = restore.restore(folder, "last"), restore.restore(again, "last")
    assert one.step == other.step == 4
    assert one.fingerprint == other.fingerprint
    assert (folder / "metrics.jsonl").read_text() == (again / "metrics.jsonl").read_text()


def test_it_is_evaluated_with_its_metadata_and_maps_without(run, sample, tmp_path, capsys):
    _, folder = run
    result = evaluate.evaluate(folder, "test", "last")
    assert result["metadata"] is True
    network = restore.restore(folder, "last")
    record = dataset.open_dataset(network.config.data_dir, "flair1", legend="flair1_12").source("test")[0]
    batch = {key: record[key][None] for key in ("aerial", "metadata")}
    expected = network.card.legend.id_of_index()[np.asarray(network.probabilities()(batch))[0].argmax(-1)]
    with np.load(folder / "evaluation" / "test" / "samples.npz") as samples:
        assert np.mean(samples["prediction"][0] == expected) > 0.999  # ties may be rounded differently
    assert "know no metadata" not in capsys.readouterr().out

    (original,) = (sample / "flair_1_aerial_test").rglob("IMG_061712.tif")
    patch = pathlib.Path(shutil.copy(original, tmp_path))
    with rasterio.open(patch, "r+") as file:
        file.crs = "EPSG:2154"  # the published files do not name it
    drawn = mapper.Mapper.of_workdir(folder, "last")
    assert "of a scene it is told none" in capsys.readouterr().out
    with scene.open_scene(network.card, {"aerial": patch}) as opened:
        drawn.map(opened, tmp_path / "map.tif", options.Options(batch_size=1))
    unknown = np.asarray(network.probabilities()({"aerial": batch["aerial"]}))[0].argmax(-1)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert np.mean(file.read(1) == network.card.legend.id_of_index()[unknown]) > 0.999


def test_data_that_tell_no_metadata_are_no_place_to_score_it(run):
    _, folder = run
    card = restore.card_of(folder, "last")
    (sensor,) = card.sensors
    images = np.full((2, 32, 32, len(sensor.bands)), 100, sensor.dtype)
    masks = np.full((2, 32, 32), card.legend.scored[0].id, np.uint8)
    data = from_arrays({"test": (images, masks)}, card.legend, bands=sensor.bands, sensor=sensor.name)
    (kept,) = data.sensors
    data.sensors = (dataclasses.replace(kept, meaning=sensor.meaning, scaling=sensor.scaling),)
    with pytest.raises(
        InputError, match=r"arrays in memory: does not tell .*config\.metadata\); take data that do, or a"
    ):
        elsewhere.evaluate_elsewhere(folder, data, "test", "last")
    assert not (folder / "evaluation" / "arrays_test").exists()


def test_shards_without_metadata_are_refused_in_training_and_told_of_in_evaluation(run, monkeypatch, tmp_path, capsys):
    config, folder = run
    read = dataset.PreparedSource.read

    def forgetful(self, *arguments):
        parts = read(self, *arguments)
        return parts | ({"metadata": np.full(8, np.nan)} if "metadata" in parts else {})

    monkeypatch.setattr(dataset.PreparedSource, "read", forgetful)
    with pytest.raises(InputError, match=r"config\.metadata=True: the records of 'train' in .* know no metadata"):
        train(config, tmp_path / "run")
    assert evaluate.evaluate(folder, "test", "last")["scores"]
    assert "warning: the records of 'test' know no metadata" in capsys.readouterr().out
