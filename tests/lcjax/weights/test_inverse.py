"""Layouts read backwards: names that other libraries give their entries, from what is kept of them."""

import numpy as np
import published
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.weights import inverse, layouts
from lcjax.weights.layout import Layout, Part, converted, recognised

# Where names have parts that may be missing, they are written without.
SHORTER = {
    "transformers resnet18": "resnet.",
    "transformers resnet50": "resnet.",
    "smp tu-resnet18": "model.",
    "satlas resnet50 of many images": "backbone.",
}


def small(shapes) -> dict[str, np.ndarray]:
    """Values of few numbers for names and numbers of axes."""
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=np.minimum(shape, 3)).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", published.CASES)
def test_the_names_of_each_origin(name):
    case = published.CASES[name]
    with np.load(published.PATH, allow_pickle=False) as kept:
        entries = small(published.unpacked(kept[f"names:{name}"]))
    layout, prefix = recognised(entries, layouts.ALL, "FILE", case.layout if case.asked else "")
    foreign = converted(entries, layout, prefix, "FILE")
    found, left = inverse.theirs(foreign.arrays, layout, "FILE")
    expected = {
        full.removeprefix(prefix).replace(SHORTER.get(name, "?"), "", 1): value
        for full, value in entries.items()
        if full not in foreign.skipped
    }
    assert found.keys() == expected.keys() and not left
    for full, value in expected.items():
        np.testing.assert_array_equal(found[full], value, err_msg=full)


def resnet(stream: str = "image") -> dict[str, np.ndarray]:
    with np.load(published.PATH, allow_pickle=False) as kept:
        entries = small(published.unpacked(kept["names:torchvision resnet18"]))
    layout, prefix = recognised(entries, layouts.ALL, "FILE")
    arrays = converted(entries, layout, prefix, "FILE").arrays
    return {path.replace("/image/", f"/{stream}/"): value for path, value in arrays.items()}


def of(name: str) -> Layout:
    return next(layout for layout in layouts.ALL if layout.name == name)


def test_the_encoder_is_called_as_the_sensor_and_the_rest_is_left_out():
    rest = {"decoders/s2/levels/0/first/conv/kernel": np.ones((3, 3, 2, 2)), "head/classify/bias": np.ones(2)}
    found, left = inverse.theirs(resnet("s2") | rest, of("torchvision_resnet"), "FILE")
    assert found["conv1.weight"].shape[2:] == (3, 3)
    assert left == list(rest)
    found, left = inverse.theirs(resnet("s2") | rest, of("smp_unet"), "FILE")
    assert found["decoder.blocks.0.conv1.0.weight"].shape == (2, 2, 3, 3) and not left


@pytest.mark.parametrize(
    ("arrays", "layout", "said"),
    [
        (resnet(), "timm_efficientnet", "has no name for encoders/image/stages/"),
        (resnet("s1") | resnet("s2"), "torchvision_resnet", "encoders for s1, s2, and torchvision_resnet has one for"),
        (resnet() | {"encoders/image/more/bias": np.ones(2)}, "torchvision_resnet", "more/bias"),
        (
            resnet()
            | {"decoders/image/levels/0/first/conv/kernel": np.ones(1), "decoders/image/stem/bias": np.ones(1)},
            "smp_unet",
            "no name for decoders/image/stem/bias",
        ),
    ],
)
def test_what_a_layout_has_no_names_for(arrays, layout, said):
    with pytest.raises(InputError, match=f"^FILE: .*{said}"):
        inverse.theirs(arrays, of(layout), "FILE")


def test_a_layout_that_cannot_be_read_backwards_is_refused():
    """Two of theirs make one of ours, or axes are turned in a way of their own."""
    arrays = {"encoders/image/a/kernel": np.arange(6.0).reshape(2, 3)}
    parts = (Part("", "encoders/image/", ((r"^one", "a"), (r"^two", "a"))),)
    with pytest.raises(InputError, match=r"has one\.weight and two\.weight for encoders/image/a/kernel"):
        inverse.theirs(arrays, Layout("x", "X", (), parts, "one"), "FILE")
    unfolded = Layout("x", "X", (), (Part("", "encoders/image/"),), "a", turns=((r"/a/", "as it is"),))
    with pytest.raises(InputError, match="x is read in one direction alone"):
        inverse.theirs(arrays, unfolded, "FILE")
