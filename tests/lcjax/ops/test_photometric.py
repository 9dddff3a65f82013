"""Gains, tone, blur, noise and lost bands against numpy and scipy, by their laws, and that no draw disturbs another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from data_pipelines.schema.sensors import SENSORS, Scaling
from lcjax.ops import augment, photometric
from lcjax.ops.photometric import Photometric
from lcjax.parallel import mesh as meshes

S1, S2, AERIAL = (SENSORS[name] for name in ("s1", "s2", "aerial"))
BYTES = dataclasses.replace(AERIAL, scaling=Scaling(1.0, 10.0, 210.0, 0.0, 1.0))  # a range of 200; not scaled
ALL = Photometric(group_jitter=0.2, brightness=0.1, contrast=0.3, gamma=0.3, blur=1.0, noise=0.05, drop_bands=0.3)
HEIGHT = 4  # among the bands of AERIAL

_disturb = jax.jit(photometric.disturb, static_argnums=(3, 4, 5))
_perturb = jax.jit(augment.perturb, static_argnums=(1, 3, 4, 5))


def keys(size, step=0, first=0):
    return augment.example_keys(7, jnp.int32(step), jnp.arange(first, first + size, dtype=jnp.uint32))


def photographs(size, edge=8):
    return np.random.default_rng(3).uniform(11, 209, (size, edge, edge, 5)).astype(np.float32)


def disturbed(image, valid=None, sensor=BYTES, number=0, **how):
    valid = np.ones((*image.shape[:3], 1), bool) if valid is None else valid
    found = _disturb(image, valid, keys(len(image)), number, sensor, Photometric(**how))
    return np.asarray(found, np.float64)


def is_uniform(draws, low, high):
    return stats.kstest(draws, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_bands_of_a_group_share_one_gain():
    assert BYTES.groups == ("visible",) * 3 + ("near infrared", "height")
    image = photographs(400, edge=2)
    found = disturbed(image, group_jitter=0.2)
    gain = np.log(found / image)[:, 0, 0]
    np.testing.assert_allclose(gain[:, [1, 2]], gain[:, [0, 0]], atol=1e-5)
    np.testing.assert_array_equal(found[..., HEIGHT], image[..., HEIGHT])
    np.testing.assert_allclose(np.log(found / image), np.broadcast_to(gain[:, None, None], image.shape), atol=1e-5)
    assert abs(np.corrcoef(gain[:, 0], gain[:, 3])[0, 1]) < 0.2
    for group in (0, 3):
        assert stats.kstest(gain[:, group], stats.norm(scale=0.2).cdf).pvalue > 1e-3


def test_radar_gets_the_gain_in_decibels():
    image = np.random.default_rng(0).uniform(-24, -1, (300, 2, 2, 2)).astype(np.float32)
    moved = disturbed(image, sensor=S1, group_jitter=0.2) - image
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1, :1, :1], moved.shape), atol=1e-5)
    assert stats.kstest(moved[:, 0, 0, 0], stats.norm(scale=2 / np.log(10)).cdf).pvalue > 1e-3  # 10 log10 e^0.2


def test_brightness_moves_an_image_by_a_share_of_the_range():
    image = photographs(400, edge=2)
    moved = disturbed(image, brightness=0.1) - image
    np.testing.assert_allclose(moved[..., :HEIGHT], np.broadcast_to(moved[:, :1, :1, :1], (400, 2, 2, 4)), atol=1e-4)
    assert not moved[..., HEIGHT].any()
    assert is_uniform(moved[:, 0, 0, 0], -20, 20)


def test_contrast_is_about_the_mean_of_what_holds_data():
    image = photographs(300)
    valid = np.ones((300, 8, 8, 1), bool)
    valid[:, :3] = False
    found = disturbed(image, valid, contrast=0.3)
    mean = image[:, 3:].mean((1, 2), dtype=np.float64)[:, None, None]
    factor = (found - mean)[:, 5, 5, 0] / (image - mean)[:, 5, 5, 0]
    expected = mean + factor[:, None, None, None] * (image - mean)
    np.testing.assert_allclose(found[:, 3:, :, :HEIGHT], expected[:, 3:, :, :HEIGHT], atol=2e-3)
    np.testing.assert_array_equal(found[..., HEIGHT], image[..., HEIGHT])
    assert is_uniform(factor, 0.7, 1.3)


def test_gamma_is_a_power_between_the_ends_of_the_range():
    image = photographs(300)
    image[:, 0, 0], image[:, 0, 1], image[:, 0, 2] = 10.0, 210.0, 4.0
    found = disturbed(image, gamma=0.4)
    share = (image[..., :HEIGHT].astype(np.float64) - 10) / 200
    power = np.log((found[:, 5, 5, 0] - 10) / 200) / np.log(share[:, 5, 5, 0])
    raised = 10 + 200 * np.maximum(share, 0) ** power[:, None, None, None]
    expected = np.where(share >= 0, raised, image[..., :HEIGHT])  # below the range there is no power
    np.testing.assert_allclose(found[..., :HEIGHT], expected, atol=0.05)
    np.testing.assert_array_equal(found[..., HEIGHT], image[..., HEIGHT])
    assert is_uniform(np.log(power), -0.4, 0.4)
    radar = np.full((2, 2, 2, 2), -12.0, np.float32)
    np.testing.assert_array_equal(disturbed(radar, sensor=S1, gamma=0.4), radar)


def test_blur_is_scipys_gaussian_of_what_holds_data():
    largest, size = 1.5, 200
    image = photographs(size, edge=24)
    image[..., 0] = 0
    image[:, 12, 12, 0] = 1  # its deviation is read off what becomes of this
    valid = np.ones((size, 24, 24, 1), bool)
    valid[:, :, :5] = False
    found = disturbed(image, valid, blur=largest)
    ratio = found[:, 12, 13, 0] / found[:, 12, 12, 0]
    deviations = np.sqrt(-0.5 / np.log(np.maximum(ratio, 1e-30)))
    assert is_uniform(deviations[deviations > 0.15], 0.15, largest) and 0.02 < np.mean(deviations < 0.15) < 0.2
    for example in np.flatnonzero(ratio > 1e-6)[:20]:

        def blurred(values, sigma=deviations[example]):
            return ndimage.gaussian_filter(values, sigma, mode="constant", radius=5)  # 3 x 1.5, rounded up

        share = blurred(valid[example, ..., 0].astype(np.float64))
        for band in range(HEIGHT):
            here = np.where(valid[example, ..., 0], image[example, ..., band].astype(np.float64), 0)
            expected = np.where(valid[example, ..., 0], blurred(here) / share, image[example, ..., band])
            np.testing.assert_allclose(found[example, ..., band], expected, atol=2e-3)
    np.testing.assert_array_equal(found[..., HEIGHT], image[..., HEIGHT])


def test_noise_is_normal_and_of_every_pixel_and_band():
    image = photographs(200, edge=16)
    added = disturbed(image, noise=0.05) - image
    assert not added[..., HEIGHT].any()
    deviations = added[..., :HEIGHT].std((1, 2, 3))
    assert is_uniform(deviations, 0, 10)
    unit = added[..., :HEIGHT][deviations > 1] / deviations[deviations > 1][:, None, None, None]
    assert stats.kstest(unit.ravel()[::7], "norm").pvalue > 1e-3
    bands = np.corrcoef(unit.reshape(-1, HEIGHT).T)[~np.eye(HEIGHT, dtype=bool)]
    neighbours = [np.corrcoef(unit[:, :-1].ravel(), unit[:, 1:].ravel())[0, 1]]
    assert np.abs([*bands, *neighbours]).max() < 0.02


@pytest.mark.parametrize("probability", [0.5, 1.0])
@pytest.mark.parametrize("sensor", [S1, S2, AERIAL], ids=lambda sensor: sensor.name)
def test_lost_bands_are_shown_as_what_is_empty_and_never_all(sensor, probability):
    size, count = 600, len(sensor.bands)
    stored = np.random.default_rng(0).integers(1, 100, (size, 2, 2, count)).astype(sensor.dtype)
    how = Photometric(drop_bands=probability)
    found = np.asarray(_perturb({sensor.name: stored}, (sensor,), keys(size), 0, 0.0, how)[sensor.name])
    plain = np.asarray(augment.scale(jnp.asarray(stored), sensor.scaling))
    shown = np.asarray(augment.scale(jnp.asarray(sensor.empty.reshape(1, 1, 1, -1)), sensor.scaling))
    lost = (np.abs(found - plain) > 1e-5).any((1, 2))
    np.testing.assert_allclose(found, np.where(lost[:, None, None], shown, plain), atol=1e-6)
    kept = count - lost.sum(1)
    assert kept.min() >= 1
    assert lost.mean() == pytest.approx(probability - probability**count / count, abs=0.05)
    assert probability < 1 or set(kept) == {1}
    assert lost.any(0).all()


def test_what_holds_no_data_stays_and_is_smeared_nowhere():
    image = np.full((4, 16, 16, 13), 1500, np.uint16)
    image[:, 4:8, 4:8] = 0
    plain = np.asarray(augment.scale(jnp.asarray(image), S2.scaling))
    found = np.asarray(_perturb({"s2": image}, (S2,), keys(4), 0, 0.0, ALL)["s2"])
    np.testing.assert_array_equal(found[:, 4:8, 4:8], plain[:, 4:8, 4:8])
    assert (found[:, 8:] != plain[:, 8:]).mean() > 0.9
    blurred = np.asarray(_perturb({"s2": image}, (S2,), keys(4), 0, 0.0, Photometric(blur=2.0))["s2"])
    np.testing.assert_allclose(blurred, plain, atol=1e-6)
    # Where the sensor does not say so, 0 is a number as any other.
    says = dataclasses.replace(S2, zero_is_nodata=False)
    blurred = np.asarray(_perturb({"s2": image}, (says,), keys(4), 0, 0.0, Photometric(blur=2.0))["s2"])
    assert np.abs(blurred - plain).max() > 0.01


def test_switching_one_on_changes_no_other_draw():
    image = photographs(16)

    def shift(**how):
        return disturbed(image, **how) - image

    # Added to the image, whatever else is: the differences are the same.
    both = shift(brightness=0.1, noise=0.05)
    np.testing.assert_allclose(both, shift(brightness=0.1) + shift(noise=0.05), atol=1e-4)
    gained = disturbed(image, group_jitter=0.2)
    together = disturbed(image, group_jitter=0.2, brightness=0.1)
    np.testing.assert_allclose(together - gained, shift(brightness=0.1), atol=1e-4)
    # The same of those that came before: speckle and jitter.
    plain = dataclasses.replace(S2, scaling=Scaling(1.0, -np.inf, np.inf, 0.0, 1.0))
    stored = {"s2": np.random.default_rng(0).integers(500, 9000, (16, 2, 2, 13)).astype(np.uint16)}

    def logarithm(jitter, how):
        return np.log(np.asarray(_perturb(stored, (plain,), keys(16), 0, jitter, how)["s2"], np.float64))

    base = np.log(stored["s2"].astype(np.float64))
    by_band, by_group = logarithm(0.1, Photometric()), logarithm(0.0, Photometric(group_jitter=0.2))
    np.testing.assert_allclose(
        logarithm(0.1, Photometric(group_jitter=0.2)) - base, by_band - base + by_group - base, atol=1e-5
    )


def test_sensors_have_draws_of_their_own():
    image = photographs(64, edge=2)
    first, second = (
        disturbed(image, number=number, brightness=0.1)[:, 0, 0, 0] - image[:, 0, 0, 0] for number in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4


def test_draws_do_not_depend_on_devices_or_on_the_rest_of_the_batch():
    stored = np.random.default_rng(0).integers(1, 9000, (16, 12, 12, 13)).astype(np.uint16)

    def run(stored, keys_B):
        return np.asarray(_perturb({"s2": stored}, (S2,), keys_B, 0, 0.0, ALL)["s2"])

    runs = []
    for devices in (1, 8):
        sharding = meshes.batch_sharding(meshes.make_mesh(devices, 1, 16))
        runs.append(run(*jax.device_put((stored, keys(16)), sharding)))
    alone = run(stored[5:6], keys(1, first=5))
    np.testing.assert_allclose(runs[1], runs[0], atol=1e-6)
    np.testing.assert_allclose(alone, runs[0][5:6], atol=1e-6)
    assert np.abs(run(stored[5:6], keys(1, step=1, first=5)) - alone).max() > 0.01


def test_a_band_without_a_range_stays_finite():
    """As one has that is constant in all that was trained on, an alpha of 255 for example."""
    flat = dataclasses.replace(BYTES.scaling, low=(0.0, 0.0, 255.0, 0.0, 0.0), high=(255.0,) * 5)
    sensor, image = dataclasses.replace(BYTES, scaling=flat), photographs(16)
    image[..., 2] = 255
    found = disturbed(image, sensor=sensor, gamma=0.3, blur=1.0, group_jitter=0.2, brightness=0.2, noise=0.1)
    assert np.isfinite(found).all()
