"""Figures: valid pictures of the right content, the same for the same input, and no trip over odd input."""

import io

import numpy as np
import pytest
from PIL import Image

from lcjax.plotting import figures

NAMES = ("Forest", "Urban/Built-up", "Water")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def holds(png: bytes, colour: str) -> int:
    """How many pixels of the picture have exactly this colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels(png) == rgb).all(axis=-1).sum())


def loss_panel(**changes) -> figures.Panel:
    steps = np.arange(10)
    lines = [figures.Curve("a", steps, 1 / (1 + steps)), figures.Curve("b", steps, 2 / (1 + steps), dashed=True)]
    return figures.Panel(**({"title": "Loss", "unit": "loss", "curves": lines} | changes))


def test_curves_draw_every_run_in_its_colour():
    png = figures.learning_curves([loss_panel(), loss_panel(title="Learning rate", unit="learning rate")])
    assert holds(png, figures.LINE_COLOURS[0]) > 100
    assert holds(png, figures.LINE_COLOURS[1]) > 100
    assert holds(png, figures.LINE_COLOURS[2]) == 0


@pytest.mark.parametrize("name", ["_hidden", "$x_1$", "a & <b>", "x" * 300])
def test_curves_take_any_name_of_a_run(name):
    line = figures.Curve(name, [1, 2, 3], [0.5, float("nan"), 0.25])
    assert holds(figures.learning_curves([loss_panel(curves=[line])]), figures.LINE_COLOURS[0]) > 50


def test_curves_smooth_only_where_asked():
    noisy = figures.Curve("a", np.arange(400), np.random.default_rng(0).normal(size=400))
    plain = figures.learning_curves([loss_panel(curves=[noisy])])
    smooth = figures.learning_curves([loss_panel(curves=[noisy], smoothed=True)])
    assert holds(smooth, figures.LINE_COLOURS[0]) < holds(plain, figures.LINE_COLOURS[0])


def test_more_runs_than_colours_are_told_apart_by_line_style():
    lines = [figures.Curve(f"run {i}", [0, 1], [i, i + 1]) for i in range(2 * len(figures.LINE_COLOURS))]
    assert figures.learning_curves([loss_panel(curves=lines)])


def test_confusion_shades_by_row_and_survives_an_absent_class():
    """The darkest blue stands for 100 % of a row: here the two classes that are always right."""
    png = figures.confusion(np.array([[50, 0, 0], [0, 7, 0], [0, 0, 0]]), NAMES, "run")
    full = "#08306b"  # the top of the colour map
    assert holds(png, full) > 2 * 30 * 30
    halved = figures.confusion(np.array([[25, 25, 0], [4, 4, 0], [0, 0, 0]]), NAMES, "run")
    assert holds(halved, full) == 0


def test_published_confusion_shades_shares_as_they_are():
    """Rounded rows do not sum to 1, and are not made to: 0.99 is not the blue of 1."""
    full = "#08306b"
    assert holds(figures.published_confusion(np.array([[1, 0], [0, 1]]), NAMES[:2], "baseline"), full) > 2 * 30 * 30
    assert holds(figures.published_confusion(np.array([[0.98, 0], [0, 0.98]]), NAMES[:2], "baseline"), full) == 0


def test_confusion_of_nothing_at_all():
    assert figures.confusion(np.zeros((3, 3), int), NAMES)


def test_distribution_has_bars_in_class_colours_in_proportion():
    colours = {"Forest": "#009900", "Water": "#1c0dff"}
    png = figures.distribution({"train": {"Forest": 75, "Water": 25}}, ("Forest", "Water"), colours)
    assert holds(png, "#009900") == pytest.approx(3 * holds(png, "#1c0dff"), rel=0.06)


def test_distribution_of_an_unlabelled_split_and_unknown_classes():
    assert figures.distribution({"train": {}, "test": {"Marsh": 5}}, ("Marsh",), {})


def test_samples_paint_the_legend_and_grey_for_the_rest():
    classes = [(1, "Forest", "#009900"), (10, "Water", "#1c0dff"), (6, "Croplands", "#c24f44")]
    truth = np.full((2, 16, 16), 1, np.uint8)
    prediction = np.full((2, 16, 16), 255, np.uint8)
    prediction[:, :8] = 10
    images = np.full((2, 16, 16, 3), 90, np.uint8)
    png = figures.samples(["p0", "p1"], images, {"truth": truth, "unet": prediction}, classes)
    assert holds(png, "#009900") > 1.8 * holds(png, "#1c0dff") > 0
    assert holds(png, figures.UNLABELLED) > 0
    assert holds(png, "#c24f44") == 0  # a class that does not occur is not in the legend either


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.learning_curves([loss_panel()]),
        lambda: figures.confusion(np.eye(3, dtype=int), NAMES, "run"),
        lambda: figures.distribution({"train": {"Water": 1}}, ("Water",), {}),
    ],
)
def test_the_same_input_gives_the_same_bytes(draw):
    assert draw() == draw()
