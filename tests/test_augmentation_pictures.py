"""The pictures of augmentation: one row for every field, drawn by the code that training calls."""

import pathlib
import runpy

import numpy as np
import pytest

from lcjax.configs import base

DOCS = pathlib.Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "augmentation_pictures.py"), run_name="imported")


def test_there_is_a_row_for_every_field(script):
    rows = script["PHOTOMETRIC"] | script["GEOMETRIC"]
    assert {f"augmentation.{name}" for name in rows} == {f for f in base.FIELDS if f.startswith("augmentation.")}
    for name in ("photometric", "geometric"):
        assert (DOCS / "images" / f"augmentation_{name}.png").is_file()
    assert script["draw"]({"gamma": 0.5}, False).startswith(b"\x89PNG")


@pytest.mark.slow  # a program for each
def test_every_field_is_seen(script):
    rows = script["PHOTOMETRIC"] | script["GEOMETRIC"]
    stored = {key: array[:2] for key, array in script["examples"]().items()}
    plain, _ = script["augmented"](stored, {})
    for name, value in rows.items():
        images, labels = script["augmented"](stored, {name: value})
        assert images.shape == plain.shape and labels.shape == plain.shape[:3]
        assert np.abs(images - plain).max() > 0.02, name
