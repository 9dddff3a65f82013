"""What watches a training is said to have been seen where it was."""

import types

import pytest

from data_pipelines.schema.on_disk import Origin
from lcjax.engine import shared_images

SOURCES = {
    "unlabelled[:90%]": ("a.tif", "b.tif"),
    "unlabelled[90%:]": ("b.tif",),
    "unlabelled[95%:]": ("c.tif",),
    "train": ("a.tif",),
    "validation": ("a.tif",),
    "arrays[:1]": ("",),
    "arrays[1:]": ("",),
}
DATA = types.SimpleNamespace(origins=lambda spec: [Origin("", source, None) for source in SOURCES[spec]])


def test_parts_of_one_split_that_share_an_image_are_named():
    said = shared_images.warning(DATA, "unlabelled[:90%]", "unlabelled[90%:]")
    assert "both hold tiles of 1 images, as of b.tif" in said


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("unlabelled[:90%]", ""),
        ("unlabelled[:90%]", "unlabelled[95%:]"),
        ("train", "validation"),  # blocks of one mosaic, with a margin
        ("arrays[:1]", "arrays[1:]"),
    ],
)
def test_nothing_is_said_where_nothing_is_shared(train, validation):
    assert shared_images.warning(DATA, train, validation) == ""
