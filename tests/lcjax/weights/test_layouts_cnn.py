"""Convolutional networks by the names that their libraries publish, and what those answered (tests/parity)."""

import functools

import answers
import numpy as np
import published
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.weights import layouts
from lcjax.weights.layout import converted, recognised

TOLERANCE = 1e-4


@functools.cache
def shapes(name) -> published.Shapes:
    with np.load(published.PATH, allow_pickle=False) as kept:
        return published.unpacked(kept[f"names:{name}"])


def zeros(name) -> dict[str, np.ndarray]:
    """Entries without values of their own: quick."""
    return {entry: np.broadcast_to(np.float32(0), shape) for entry, shape in shapes(name).items()}


def read(arrays, wanted=""):
    return converted(arrays, *recognised(arrays, layouts.ALL, "config.init=FILE", wanted), "config.init=FILE")


@pytest.mark.parametrize("name", published.CASES)
def test_nothing_is_left_over_on_either_side(name):
    case = published.CASES[name]
    published.taken(zeros(name), case, case.network)


@pytest.mark.parametrize("name", [name for name, case in published.CASES.items() if case.answers])
def test_every_stage_answers_as_the_original(name):
    case = published.CASES[name]
    ours = case.network
    ours = published.filled_from(published.taken(published.values(shapes(name)), case, ours), case, ours)
    mine, _ = case.images(*published.EDGES, ours.stride if case.classes else 1)
    found = answers.kept(ours.stages(mine))
    with np.load(published.PATH, allow_pickle=False) as kept:
        assert {f"{name}:{stage}" for stage in found} == {key for key in kept.files if key.startswith(f"{name}:")}
        for stage, values in found.items():
            np.testing.assert_allclose(values, kept[f"{name}:{stage}"], rtol=0, atol=TOLERANCE, err_msg=stage)


def test_bands_are_known_by_their_number_or_where_a_layout_is_asked_for():
    def bands(name, wanted=""):
        foreign = read(zeros(name), wanted)
        count = foreign.arrays["encoders/image/stem/conv/kernel"].shape[2]
        return next((one.bands for one in foreign.layout.inputs if len(one.bands) == count), ())

    assert bands("torchvision resnet18") == ("R", "G", "B")
    assert bands("torchvision resnet18", "torchgeo_sentinel2_rgb") == ("B4", "B3", "B2")
    assert bands("torchgeo resnet18 sentinel2")[7:10] == ("B8", "B8A", "B9")
    assert bands("torchgeo resnet50 sentinel1") == ("VV", "VH")
    # As many as Landsat 8 has: Sentinel-2 has none such, and nothing says that it is Landsat.
    assert bands("torchgeo resnet18 landsat") == ()
    assert bands("torchgeo resnet18 landsat", "torchgeo_landsat_oli")[:2] == ("coastal", "B")
    assert bands("satlas resnet50") == ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B11", "B12")
    assert bands("flair resnet34") == ("R", "G", "B", "NIR", "elevation")
    # The same names without what FLAIR puts around them: any Unet of five bands.
    bare = {name.removeprefix("state_dict.model.seg_model."): array for name, array in zeros("flair resnet34").items()}
    bare = {name.removeprefix("seg_model."): array for name, array in bare.items()}
    assert read(bare).layout.name == "smp_unet"
    assert read(bare, "flair_unet_bare").layout.inputs[0].bands == ("R", "G", "B", "NIR", "elevation")


def test_every_input_has_another_number_of_bands():
    for layout in layouts.ALL:
        counts = [(one.stream, len(one.bands)) for one in layout.inputs]
        assert len(set(counts)) == len(counts), layout.name
    names = [layout.name for layout in layouts.ALL]
    assert len(set(names)) == len(names)


def test_wrappers_of_training_programs_are_peeled():
    plain = zeros("torchvision resnet18")
    moco = {f"state_dict.module.encoder_q.{name}": array for name, array in plain.items()}
    moco |= {f"state_dict.module.encoder_k.{name}": array for name, array in plain.items()}
    foreign = read(moco)
    assert foreign.prefix == "state_dict.module.encoder_q."
    assert foreign.names["encoders/image/stem/conv/kernel"] == ("state_dict.module.encoder_q.conv1.weight",)
    assert "encoder_k" in " ".join(foreign.skipped)


def test_a_decoder_with_attention_is_left_and_its_encoder_taken():
    scse = {**zeros("smp resnet18"), "decoder.blocks.0.attention1.attention.sSE.0.weight": np.zeros((1, 768, 1, 1))}
    foreign = read(scse)
    assert (foreign.layout.name, foreign.prefix) == ("torchvision_resnet", "encoder.")
    assert foreign.streams == ("image",)
    assert all(path.startswith("encoders/") for path in foreign.arrays)


VARIANTS = {
    "resnet50d": {"conv1.0.weight": (32, 3, 3, 3), "bn1.weight": (64,), "layer4.0.conv2.weight": (512, 512, 3, 3)},
    "shortcut that pools": {"conv1.weight": (64, 3, 7, 7), "layer2.0.downsample.2.weight": (512,)},
    "seresnet50": {"conv1.weight": (64, 3, 7, 7), "layer1.0.se.fc1.weight": (16, 256, 1, 1)},
    "ecaresnet": {"backbone.conv1.weight": (64, 3, 7, 7), "backbone.layer1.0.se.conv.weight": (1, 1, 5)},
    "resnest": {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv2.fc1.weight": (32, 64, 1, 1)},
    "res2net": {"conv1.weight": (64, 3, 7, 7), "layer1.0.convs.0.weight": (26, 26, 3, 3)},
    "efficientnet_b0": {"conv_stem.weight": (32, 3, 3, 3), "blocks.0.0.se.conv_reduce.weight": (8, 32, 1, 1)},
    "smp timm-efficientnet": {
        "encoder.conv_stem.weight": (32, 3, 3, 3),
        "decoder.blocks.0.conv1.0.weight": (9, 9, 3, 3),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_networks_are_refused_by_what_they_are(variant):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in VARIANTS[variant].items()}
    with pytest.raises(InputError, match=r"(another network|other\s+networks) than those here; expected"):
        read(arrays)


@pytest.mark.parametrize("other", ["seresnet", "efficientnet"])
def test_entries_that_make_another_network_are_no_odd_rest(other):
    """All that ours has is there, and something more."""
    base, entry = {
        "seresnet": ("torchvision resnet50", "layer1.0.se.fc1.weight"),
        "efficientnet": ("timm tf_efficientnet_lite0", "blocks.1.0.se.conv_reduce.weight"),
    }[other]
    with pytest.raises(InputError, match=r"(other\s+networks|another network) than"):
        read({**zeros(base), entry: np.zeros((4, 64, 1, 1), np.float32)})
