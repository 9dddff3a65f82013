"""Scaling against numpy; crops and turns take all sensors and the label along; speckle and jitter by their laws."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import RGB
from scipy import special, stats

from data_pipelines.reading import loader
from data_pipelines.reading.band_statistics import BandSums
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.normalization import by_maximum, whitened
from data_pipelines.schema.sensors import SENSORS, Scaling
from lcjax.ops import augment
from lcjax.parallel import mesh as meshes


@pytest.mark.parametrize("sensor", SENSORS.values(), ids=SENSORS)
def test_scale_equals_numpy(sensor):
    limits = np.iinfo(sensor.dtype)
    shape = (2, 5, 7, len(sensor.bands))
    stored = np.random.default_rng(0).integers(limits.min, limits.max, shape, dtype=sensor.dtype, endpoint=True)
    stored.flat[:4] = limits.min, limits.max, 0, 1
    scaling = sensor.scaling
    expected = np.clip(stored.astype(np.float64) * scaling.unit, scaling.low, scaling.high)
    expected = (expected - np.array(scaling.offset)) / np.array(scaling.scale)
    found = jax.jit(lambda stored: augment.scale(stored, scaling))(stored)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_scaled_by_the_maximum_of_the_crop(name):
    """S1 clipped to [-25, 0] dB and moved by 25, S2 clipped to [0, 1e4]; each band through its own maximum + 1e-5."""
    sensor = by_maximum(SENSORS[name], {})
    stored = np.random.default_rng(1).integers(
        -3000 if name == "s1" else 0, 12_000 if name == "s2" else 200, (2, 6, 6, len(sensor.bands))
    )
    stored = stored.astype(sensor.dtype)
    physical = np.clip(stored / 100.0, -25, 0) + 25 if name == "s1" else np.clip(stored.astype(float), 0, 1e4)
    expected = physical / (physical.max((1, 2), keepdims=True) + 1e-5)
    found = jax.jit(lambda stored: augment.scale(stored, sensor.scaling))(stored)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scaled_sentinels_lie_between_zero_and_one():
    stored = jnp.array([-2500, 0, -9999, 100], jnp.int16).reshape(1, 2, 1, 2)
    assert augment.scale(stored, SENSORS["s1"].scaling).ravel().tolist() == [0, 1, 0, 1]
    s2 = augment.scale(jnp.full((1, 1, 1, 13), 12_000, jnp.uint16), SENSORS["s2"].scaling)
    assert set(s2.ravel().tolist()) == {1.0}


def test_whitened_bands_are_uncorrelated_and_of_one_deviation():
    generator = np.random.default_rng(0)
    brightness, tints = generator.normal(120, 40, (64, 64, 1)), generator.normal(0, 3, (64, 64, 3))
    image = (brightness + tints).clip(0, 255).astype(np.uint8)  # bands that are much alike
    sensor = dataclasses.replace(RGB, scaling=BandSums.of(image, None).scaling())
    scaling = whitened(sensor, BandSums.of(image, None).summary()).scaling
    found = np.asarray(jax.jit(lambda stored: augment.scale(stored, scaling))(image[None])).reshape(-1, 3)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=2e-3)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    plain = np.asarray(augment.scale(jnp.asarray(image[None]), sensor.scaling)).reshape(-1, 3)
    assert np.corrcoef(plain.T)[0, 1] > 0.95
    # ZCA: of all whitened bands those that are nearest to the bands themselves, each to its own.
    assert (np.argmax(np.corrcoef(found.T, plain.T)[:3, 3:], axis=1) == np.arange(3)).all()


EDGE = 8


def coordinates(size):
    """Images whose every pixel says its example, row and column, in three layouts."""
    example, row, column = np.meshgrid(np.arange(size), np.arange(EDGE), np.arange(EDGE), indexing="ij")
    code = example * 100 + row * 10 + column
    return {
        "s1": np.stack([code, -code], -1).astype(np.int16),
        "s2": np.stack([code] * 13, -1).astype(np.uint16),
        "label": (row * 10 + column).astype(np.uint8),
    }


def keys(size, step=0, first=0):
    return augment.example_keys(7, jnp.int32(step), jnp.arange(first, first + size, dtype=jnp.uint32))


def corners(size, crop):
    """As the loader draws them, (size, 2) int32."""
    return np.array([loader.corner(position, EDGE, crop, 5) for position in range(size)], np.int32)


def cut(size, *, crop, flip, step=0):
    function = jax.jit(lambda images, where, keys: augment.crop_and_dihedral(images, where, keys, crop=crop, flip=flip))
    return jax.tree.map(np.asarray, function(coordinates(size), corners(size, crop), keys(size, step)))


@pytest.mark.parametrize("crop", [3, 8, 0])
@pytest.mark.parametrize("turn", [False, True])
def test_all_arrays_are_cut_and_turned_alike(crop, turn):
    found = cut(64, crop=crop, flip=turn)
    edge = crop or EDGE
    assert {name: image.shape for name, image in found.items()} == {
        "s1": (64, edge, edge, 2),
        "s2": (64, edge, edge, 13),
        "label": (64, edge, edge),
    }
    assert [str(found[name].dtype) for name in ("s1", "s2", "label")] == ["int16", "uint16", "uint8"]
    examples = 100 * np.arange(64)[:, None, None]
    np.testing.assert_array_equal(found["s1"][..., 0] - examples, found["label"])
    np.testing.assert_array_equal(found["s1"][..., 1] + examples, -found["label"].astype(int))
    np.testing.assert_array_equal(found["s2"] - examples[..., None], np.stack([found["label"]] * 13, -1))


def place_and_turn(label):
    """(top, left) of a cut and which of the eight turns it shows, from the coordinates in it."""
    rows, columns = label // 10, label % 10
    down = [int(axis[1, 0]) - int(axis[0, 0]) for axis in (rows, columns)]
    right = [int(axis[0, 1]) - int(axis[0, 0]) for axis in (rows, columns)]
    return (int(rows.min()), int(columns.min())), (*down, *right)


def test_every_place_and_every_turn_occurs_about_equally_often():
    found = [place_and_turn(label) for label in cut(4096, crop=6, flip=True)["label"]]
    places, turns = ([pair[i] for pair in found] for i in (0, 1))
    assert set(places) == {(top, left) for top in range(3) for left in range(3)}
    assert len(set(turns)) == 8
    # A turn maps the step down to a unit step, and the step right to another that is perpendicular.
    assert all(abs(a * d - b * c) == 1 for a, b, c, d in set(turns))
    both = {pair: found.count(pair) for pair in set(found)}
    assert len(both) == 9 * 8
    assert min(both.values()) > 20  # 57 each on average
    assert max(both.values()) < 110


def test_without_turning_only_the_place_is_drawn():
    found = [place_and_turn(label) for label in cut(256, crop=6, flip=False)["label"]]
    assert {turn for _, turn in found} == {(1, 0, 0, 1)}
    assert len({place for place, _ in found}) == 9


def test_the_whole_tile_without_turning_stays_as_it_is():
    for name, image in cut(4, crop=0, flip=False).items():
        np.testing.assert_array_equal(image, coordinates(4)[name])


def test_a_draw_does_not_depend_on_the_layout_of_the_batch():
    images = coordinates(8)
    function = jax.jit(lambda images, where, keys: augment.crop_and_dihedral(images, where, keys, crop=5, flip=True))
    where = corners(8, 5)
    together = function(images, where, keys(8))
    alone = [
        function({name: image[i : i + 1] for name, image in images.items()}, where[i : i + 1], keys(1, first=i))
        for i in range(8)
    ]
    for name in images:
        np.testing.assert_array_equal(together[name], np.concatenate([one[name] for one in alone]))


@pytest.mark.parametrize("turn", [False, True])
def test_a_crop_that_the_loader_cut_is_that_of_the_device(turn):
    images, where = coordinates(16), corners(16, 5)
    pieces = {
        name: np.stack([image[i, top : top + 5, left : left + 5] for i, (top, left) in enumerate(where)])
        for name, image in images.items()
    }
    device = augment.crop_and_dihedral(images, where, keys(16), crop=5, flip=turn)
    host = augment.crop_and_dihedral(pieces, np.zeros_like(where), keys(16), crop=5, flip=turn)
    for name in images:
        np.testing.assert_array_equal(device[name], host[name])


def test_a_draw_depends_on_seed_step_and_example():
    drawn = {
        (seed, step, example): tuple(np.asarray(jax.random.key_data(key)))
        for seed in (0, 1)
        for step in (0, 1, 2)
        for example, key in enumerate(augment.example_keys(seed, jnp.int32(step), jnp.arange(3, dtype=jnp.uint32)))
    }
    assert len(set(drawn.values())) == 18


@pytest.mark.parametrize(("crop", "first"), [(4, 2), (3, 2), (8, 0)])
def test_centre_crop(crop, first):
    found = augment.centre_crop(coordinates(2), crop=crop)
    for name, image in coordinates(2).items():
        np.testing.assert_array_equal(found[name], image[:, first : first + crop, first : first + crop])


def test_centre_crop_of_nothing_keeps_all():
    found = augment.centre_crop(coordinates(2), crop=0)
    assert all(found[name] is not None and found[name].shape == image.shape for name, image in coordinates(2).items())


def test_shrunk_is_the_mean_of_areas():
    """Of a whole number of pixels the plain mean; else by hand: 3 to 2 pixels weighs the middle one half and half."""
    image = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(
        augment.resize_images(image, 4, 3), image.reshape(2, 4, 2, 3, 4, 3).mean((2, 4)), rtol=1e-5, atol=1e-6
    )
    row = jnp.array([3.0, 6.0, 12.0]).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(
        augment.resize_images(row, 1, 2).ravel(), [(3 + 6 / 2) / 1.5, (6 / 2 + 12) / 1.5], rtol=1e-6
    )
    np.testing.assert_allclose(augment.resize_images(image, 5, 7).mean((1, 2)), image.mean((1, 2)), atol=1e-6)


def test_thinned_takes_single_pixels():
    labels = np.arange(512 * 512).reshape(1, 512, 512)
    found = np.asarray(augment.resize_labels(jnp.asarray(labels), 224, 224))
    places = [math.floor(i * 512 / 224) for i in range(224)]
    np.testing.assert_array_equal(found[0], labels[0][np.ix_(places, places)])


S1, S2, AERIAL = (SENSORS[name] for name in ("s1", "s2", "aerial"))
# Neither clipped nor shifted: what comes back are the physical values.
PLAIN = Scaling(unit=0.01, low=-np.inf, high=np.inf, offset=0.0, scale=1.0)


def stored_pair(size, edge=EDGE, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "s1": generator.integers(-2400, -100, (size, edge, edge, 2)).astype(np.int16),
        "s2": generator.integers(1, 9000, (size, edge, edge, 13)).astype(np.uint16),
    }


compiled = jax.jit(augment.perturb, static_argnums=(1, 3, 4))


def disturbed(images, sensors, keys_B, speckle=0, jitter=0.0):
    return compiled(images, sensors, keys_B, speckle, jitter)


def test_without_speckle_and_jitter_not_a_bit_changes():
    images = stored_pair(3)
    found = disturbed(images, (S1, S2), keys(3))
    for sensor in (S1, S2):
        scaled = jax.jit(augment.scale, static_argnums=1)(images[sensor.name], sensor.scaling)
        np.testing.assert_array_equal(found[sensor.name], scaled)


@pytest.mark.parametrize("looks", [1, 4, 16])
def test_speckle_has_the_gamma_law(looks):
    """By its moments (in dB: those of log-gamma, digamma and trigamma) and by the distance of the distributions."""
    radar = dataclasses.replace(S1, scaling=PLAIN)
    stored = np.full((4, 128, 128, 2), -1200, np.int16)
    decibels = np.asarray(disturbed({"s1": stored}, (radar,), keys(4), speckle=looks)["s1"], np.float64).ravel() + 12
    per_neper, count = 10 / np.log(10), decibels.size
    variance = per_neper**2 * special.polygamma(1, looks)
    mean = per_neper * (special.digamma(looks) - np.log(looks))
    assert decibels.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / count))
    assert decibels.var() == pytest.approx(variance, rel=0.05)
    intensity = 10 ** (decibels / 10)
    assert intensity.mean() == pytest.approx(1, abs=5 / np.sqrt(looks * count))
    assert intensity.var() == pytest.approx(1 / looks, rel=0.05)
    assert stats.kstest(intensity, stats.gamma(looks, scale=1 / looks).cdf).pvalue > 1e-3


def test_speckle_is_of_radar_alone_and_of_every_pixel_and_band():
    images = stored_pair(2)
    found = disturbed(images, (S1, S2), keys(2), speckle=4)
    np.testing.assert_array_equal(found["s2"], augment.scale(jnp.asarray(images["s2"]), S2.scaling))
    radar = dataclasses.replace(S1, scaling=PLAIN)
    draws = np.asarray(disturbed({"s1": np.full((2, 32, 32, 2), -999, np.int16)}, (radar,), keys(2), speckle=4)["s1"])
    columns = np.moveaxis(draws, -1, 1).reshape(4, -1)  # two examples of two bands
    assert np.abs(np.corrcoef(columns)[~np.eye(4, dtype=bool)]).max() < 0.15
    assert np.abs(np.corrcoef(draws[:, :, :-1].ravel(), draws[:, :, 1:].ravel())[0, 1]) < 0.15


def test_jitter_is_a_gain_of_light_an_offset_of_decibels_and_nothing_to_heights():
    size, deviation = 400, 0.2
    sensors = tuple(dataclasses.replace(sensor, scaling=PLAIN) for sensor in (S1, AERIAL))
    images = {"s1": stored_pair(size, edge=2)["s1"]}
    images["aerial"] = np.random.default_rng(3).integers(1, 256, (size, 2, 2, 5)).astype(np.uint8)
    found = disturbed(images, sensors, keys(size), jitter=deviation)
    physical = {name: image.astype(np.float64) * 0.01 for name, image in images.items()}
    offset = found["s1"] - physical["s1"]  # in dB
    gain = np.log(found["aerial"][..., :4] / physical["aerial"][..., :4])
    np.testing.assert_allclose(found["aerial"][..., 4], physical["aerial"][..., 4], rtol=1e-6)
    drawn = []
    for log_gain in (offset * np.log(10) / 10, gain):
        np.testing.assert_allclose(log_gain, np.broadcast_to(log_gain[:, :1, :1], log_gain.shape), atol=2e-6)
        drawn.append(log_gain[:, 0, 0])
        assert stats.kstest(drawn[-1].ravel(), stats.norm(scale=deviation).cdf).pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate(drawn, axis=1).T)
    assert np.abs(correlation[~np.eye(6, dtype=bool)]).max() < 0.2


def test_disturbance_comes_before_the_clip_and_the_scaling():
    images = {"s2": np.full((64, 2, 2, 13), 9000, np.uint16)}
    found = np.asarray(disturbed(images, (S2,), keys(64), jitter=0.3)["s2"])
    assert found.max() == 1.0 and 0.1 < np.mean(found == 1.0) < 0.6  # P(N > log(1/0.9) / 0.3) = 0.36
    assert len(np.unique(found)) > 100


def test_what_holds_no_data_stays_as_it_was():
    images = stored_pair(2)
    for image in images.values():
        image[:, :3] = 0
        image[:, 3, :, 0] = 0  # one band alone is a measurement
    found = disturbed(images, (S1, S2), keys(2), speckle=2, jitter=0.1)
    for sensor in (S1, S2):
        plain = augment.scale(jnp.asarray(images[sensor.name]), sensor.scaling)
        np.testing.assert_array_equal(found[sensor.name][:, :3], plain[:, :3])
        assert np.mean(np.asarray(found[sensor.name][:, 3:] != plain[:, 3:])) > 0.5
    # 0 dB is a measurement where the sensor does not say otherwise.
    says = dataclasses.replace(S1, zero_is_nodata=False)
    assert np.ptp(disturbed(images, (says,), keys(2), speckle=2)["s1"][:, :3]) > 0


def test_disturbances_do_not_depend_on_devices_or_on_the_rest_of_the_batch():
    image, how = stored_pair(16)["s1"], {"speckle": 3, "jitter": 0.1}
    runs = []
    for devices in (1, 8):
        sharding = meshes.batch_sharding(meshes.make_mesh(devices, 1, 16))
        on_devices, keys_B = jax.device_put((image, keys(16)), sharding)
        runs.append(disturbed({"s1": on_devices}, (S1,), keys_B, **how)["s1"])
    alone = disturbed({"s1": image[5:6]}, (S1,), keys(1, first=5), **how)["s1"]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0][5:6], alone)
    assert not np.array_equal(disturbed({"s1": image[5:6]}, (S1,), keys(1, step=1, first=5), **how)["s1"], alone)


@pytest.mark.parametrize(
    ("sensors", "speckle", "jitter", "words"),
    [
        ((S1, S2), -1, 0.0, "config.speckle=-1: expected 0"),
        ((S1, S2), 0, -0.1, "config.jitter=-0.1: expected 0"),
        ((S2,), 4, 0.0, "config.speckle=4: the network sees no radar"),
    ],
)
def test_disturbances_that_cannot_be_are_refused(sensors, speckle, jitter, words):
    with pytest.raises(InputError, match=words):
        augment.check_perturbation(sensors, speckle, jitter)


def test_disturbances_that_can_be_are_not_refused():
    augment.check_perturbation((S1, S2), 4, 0.1)
    augment.check_perturbation((AERIAL,), 0, 0.1)
