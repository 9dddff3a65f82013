"""A first layer for other bands: each rule against what it must do to an image."""

import numpy as np
import pytest

from data_pipelines.schema.band_selection import spectral
from data_pipelines.schema.errors import InputError
from lcjax.weights import bands

RGB, AERIAL = ("R", "G", "B"), ("NIR", "red", "GREEN", "B02", "elevation")
GENERATOR = np.random.default_rng(0)
THEIRS = GENERATOR.standard_normal((3, 3, 3, 4)).astype(np.float32)
INITIAL = GENERATOR.standard_normal((3, 3, 5, 4)).astype(np.float32)


def answer(kernel, image):
    """Of one place of a convolution."""
    return np.einsum("hwc,hwco->o", image, kernel)


def test_by_name_a_network_answers_as_the_origin_whatever_the_other_bands_show():
    layer = bands.fitted(THEIRS, RGB, INITIAL, AERIAL, "auto")
    image = GENERATOR.standard_normal((3, 3, 5))
    np.testing.assert_allclose(answer(layer.kernel, image), answer(THEIRS, image[..., 1:4]), rtol=1e-5)
    assert (layer.rule, layer.same) == ("name", False)
    assert layer.told == "by name: red from R, GREEN from G, B02 from B; NIR, elevation begin at 0"


@pytest.mark.parametrize("rule", ["mean", "repeat"])
def test_an_image_whose_bands_are_alike_gives_what_it_gave(rule):
    layer = bands.fitted(THEIRS, (), INITIAL[:, :, :2], ("VV", "VH"), rule)
    grey = GENERATOR.standard_normal((3, 3, 1))
    if rule == "mean":
        given = answer(layer.kernel, np.repeat(grey, 2, axis=2))
        np.testing.assert_allclose(given, answer(THEIRS, np.repeat(grey, 3, axis=2)), rtol=1e-5)
    else:
        np.testing.assert_allclose(layer.kernel, THEIRS[:, :, [0, 1]] * 1.5, rtol=1e-6)
    assert not layer.same


def test_repeated_slices_begin_again():
    layer = bands.fitted(THEIRS, RGB, INITIAL, AERIAL, "repeat")
    np.testing.assert_allclose(layer.kernel, THEIRS[:, :, [0, 1, 2, 0, 1]] * np.float32(0.6), rtol=1e-6)


@pytest.mark.parametrize(
    ("theirs", "ours", "rule"),
    [
        (RGB, AERIAL, "name"),
        (RGB, ("1", "2", "3"), "order"),
        ((), ("a", "b", "c"), "order"),
        ((), ("VV", "VH"), "mean"),
    ],
)
def test_auto_takes_names_then_order_then_the_mean(theirs, ours, rule):
    assert bands.fitted(THEIRS, theirs, INITIAL[:, :, : len(ours)], ours, "auto").rule == rule


def test_the_same_bands_in_the_same_order_are_taken_as_they_are():
    layer = bands.fitted(THEIRS, RGB, INITIAL[:, :, :3], ("B4", "B3", "B2"), "auto")
    assert layer.same
    np.testing.assert_array_equal(layer.kernel, THEIRS)
    turned = bands.fitted(THEIRS, RGB, INITIAL[:, :, :3], ("B", "G", "R"), "auto")
    assert not turned.same
    np.testing.assert_array_equal(turned.kernel, THEIRS[:, :, ::-1])


def test_random_keeps_what_was_drawn():
    assert bands.fitted(THEIRS, RGB, INITIAL, AERIAL, "random").kernel is INITIAL


@pytest.mark.parametrize(
    ("theirs", "rule", "says"),
    [
        (RGB, "sum", r"^config\.weights\.bands='sum': expected one of auto, name, order, mean, repeat, random$"),
        ((), "name", r"learned from 3 bands without known names, and the network sees VV, VH; take order"),
        (RGB, "name", r"learned from R, G, B, and the network sees VV, VH; take order"),
        (RGB, "order", r"learned from 3 bands, and the network sees VV, VH; take name"),
    ],
)
def test_a_rule_that_does_not_apply_is_refused(theirs, rule, says):
    with pytest.raises(InputError, match=says):
        bands.fitted(THEIRS, theirs, INITIAL[:, :, :2], ("VV", "VH"), rule)


def test_two_bands_of_one_name_share_what_both_know():
    """Alike, they give together what one gives."""
    layer = bands.fitted(THEIRS, RGB, INITIAL, ("R", "red", "G", "B", "N"), "name")
    image = GENERATOR.standard_normal((3, 3, 3))
    seen = image[..., [0, 0, 1, 2, 1]]
    np.testing.assert_allclose(answer(layer.kernel, seen), answer(THEIRS, image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "other"), [("B02 - blue", "B"), ("b4", "red"), ("B8", "nir"), ("B8A", "b8a")])
def test_names_are_spelled_in_many_ways(name, other):
    assert spectral(name) == spectral(other)
