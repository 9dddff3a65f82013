"""Numbers of parameters, as other code has them: tests/parity counts the same in other libraries' networks."""

import math

import jax.numpy as jnp
import pytest

from lcjax.models import params, registry
from lcjax.models.interfaces import whole


def count(build) -> int:
    return sum(math.prod(leaf.shape) for leaf in params.Template(build).parameters.values())


@pytest.mark.parametrize(
    ("name", "bands", "classes", "expected"),
    [
        ("swin_unet", {"image": 3}, 9, 27_168_900),  # as released
        ("swin_unet", {"image": 5}, 13, 27_172_356),
        ("swin_unet", {"image": 15}, 8, 27_187_236),
        ("unet", {"image": 5}, 13, 17_269_325),
        ("unet", {"image": 15}, 8, 17_274_760),
        ("resnet34_unet", {"image": 5}, 19, 24_445_251),
        ("resnet50_unet", {"image": 5}, 13, 32_529_117),
        ("two_stream_swin", {"s1": 2, "s2": 13}, 8, 83_070_216),  # 83.07 M of the released network take part
    ],
)
def test_segmenters(name, bands, classes, expected):
    def build(rngs):
        size = registry.sized(name)
        return registry.segmenter(size, streams=whole(bands), classes=classes, precision="f32", rngs=rngs)

    assert count(build) == expected


@pytest.mark.parametrize(("bands", "expected"), [(2, 27_517_818), (13, 27_534_714)])
def test_swin_t_without_its_classifier(bands, expected):
    size = registry.sized("two_stream_swin") | {"remat": False, "dtype": jnp.float32}
    assert count(lambda rngs: registry.family("two_stream_swin").encoder(bands, rngs=rngs, **size)) == expected
