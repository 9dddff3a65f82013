"""The answers for tests without these libraries: of the smallest network of each family."""

import functools
import os

import answers
import attention
import convolution
import filled
import numpy as np
import pytest
from compare import TOLERANCE, compare

BUILD = {
    "unet": convolution.unet,
    "resnet18_unet": functools.partial(convolution.resnet_unet, block="basic"),
    "resnet34_unet": functools.partial(convolution.resnet_unet, block="basic"),
    "resnet50_unet": functools.partial(convolution.resnet_unet, block="bottleneck"),
    "resnet101_unet": functools.partial(convolution.resnet_unet, block="bottleneck"),
    "efficientnet_lite0_unet": convolution.efficientnet_unet,
    "swin_unet": attention.swin_unet,
    "two_stream_swin": attention.swin_unet,
    "swin_upernet": attention.swin_upernet,
    "vit_pyramid": attention.vit_pyramid,
}


@functools.cache
def theirs(name: str) -> tuple[filled.Filled, dict[str, np.ndarray]]:
    family, _, bands, edges = answers.CASES[name]
    network = answers.ours(name)
    peer = BUILD[family](answers.model(name), bands, filled.CLASSES).load(network.values)
    _, whole = answers.images(name, network.stride)
    return network, peer.whole_stages(whole, *edges)


@pytest.mark.parametrize("name", answers.CASES)
def test_every_stage_of_the_smallest(name, note):
    network, stages = theirs(name)
    found = network.stages(answers.images(name, network.stride))
    height, width = answers.CASES[name][3]
    compare(f"smallest {name} {height}x{width}", found, stages, note)


def test_answers_are_kept():
    now = {
        f"{name}:{stage}": values for name in answers.CASES for stage, values in answers.kept(theirs(name)[1]).items()
    }
    if os.environ.get("WRITE_ANSWERS"):
        np.savez_compressed(answers.PATH, **now)
    with np.load(answers.PATH, allow_pickle=False) as kept:
        assert set(kept) == set(now)
        for name, values in now.items():
            np.testing.assert_allclose(kept[name], values, rtol=0, atol=TOLERANCE / 10)
