"""Layouts of transformers: what originals publish, recognised and taken, with nothing left over that no table names."""

import functools
import re

import filled
import numpy as np
import published_transformers as published
import pytest
from answers import kept
from published import PATH, unpacked

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.normalization import SCALINGS
from lcjax.models import params, registry
from lcjax.models.interfaces import whole
from lcjax.weights import layouts
from lcjax.weights.layout import converted, mirrored, recognised

ENCODER = "encoders/image/"
OWN = (
    "torchvision_swin", "swin_v2", "swin_with_positions", "timm_swin", "timm_vit", "vit_variant", "transformers_swin",
    "transformers_upernet", "transformers_vit", "microsoft_swin", "mmseg_swin", "swin_unet", "ssl_transformer_rs",
    "report2024_two_streams", "ssl_transformer_rs_resnet",
)  # fmt: skip


@functools.cache
def encoder(family, size):
    """Shapes of an encoder."""
    template = params.Template(
        lambda rngs: registry.family(family).encoder(
            3, **registry.sized(family, size), remat=False, dtype=np.float32, rngs=rngs
        )
    )
    return {path: of.shape for path, of in template.parameters.items()}


@functools.cache
def segmenter(family, size, classes, adapted=False, **bands):
    """Shapes of a network."""
    streams = whole(bands)
    if adapted:
        streams["s2"] = type(streams["s2"])((("s2", (0, 1, 2)),), 13)
    template = params.Template(
        lambda rngs: registry.segmenter(
            registry.sized(family, size), streams=streams, classes=classes, precision="f32", rngs=rngs
        )
    )
    return {path: of.shape for path, of in (template.parameters | template.statistics).items()}


def empty(shapes):
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}


SIZES = {"tiny": "t", "_t": "t", "small": "s", "_s": "s", "base": "b", "_b": "b"}


def network_of(origin):
    """Layout, shapes of ours, and where they lie, for an origin whose names are kept."""
    library = origin.removeprefix("small ").split()[0]
    if "upernet" in origin:
        return "transformers_upernet", segmenter("swin_upernet", "t", filled.CLASSES, image=3), ""
    small = origin.startswith("small ")
    size = next((ours for theirs, ours in SIZES.items() if theirs in origin), "t")
    if "vit" in origin:
        return f"{library}_vit", encoder("vit_pyramid", "tiny" if small else size), ENCODER
    return f"{library}_swin", encoder("two_stream_swin", "tiny" if small else size), ENCODER


@pytest.mark.parametrize("origin", published.kept_names())
def test_all_that_a_library_publishes_is_taken_or_named(origin):
    layout, shapes, below = network_of(origin)
    foreign, values = published.arrived(empty(published.kept_names()[origin]), layout, shapes, below)
    lacking = {path for path in shapes if path not in values}
    assert lacking == {path for path in shapes if re.match("(finest1|finest_norm|finest2|finer)/", path)}
    heads = r"head\.|classifier\.|fc\.|relative_position_index|attn_mask|pooler\.|auxiliary|num_batches|swin\.layernorm"
    assert all(re.search(heads, name) for name in foreign.skipped)


@pytest.mark.parametrize(
    ("origin", "family"), [("small timm swin", "two_stream_swin"), ("small timm vit", "vit_pyramid")]
)
def test_small_ones_answer_as_their_library(origin, family):
    layout, shapes, below = network_of(origin)
    arrays = published.fill(published.kept_names()[origin])
    network = filled.encoder(registry.sized(family, "tiny"), 3)
    _, values = published.arrived(arrays, layout, shapes, below)
    network.values.update(values)
    answers = {name.removeprefix(f"{origin}:"): of for name, of in published.kept_answers().items() if origin in name}
    stages = kept(network.stages(filled.image("image", 1, 64, 64, 3)))
    assert len(answers) > 2
    for stage, expected in answers.items():
        np.testing.assert_allclose(stages[stage], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (published.microsoft(), "model."),
        (published.microsoft(21841), "model."),
        # MoBY keeps a second encoder, which follows the first, SimMIM a decoder of pixels.
        (
            {name.replace("model.", "model.encoder."): of for name, of in published.microsoft(0).items()},
            "model.encoder.",
        ),
    ],
)
def test_microsoft_swin(names, prefix):
    more = {"model.decoder.0.weight": (3072, 768, 1, 1)} if "encoder" in prefix else {}
    foreign, values = published.arrived(empty(names | more), "microsoft_swin", encoder("two_stream_swin", "t"), ENCODER)
    assert foreign.prefix == prefix
    assert len(values) == 171
    assert ("model.decoder.0.weight" in foreign.skipped) == bool(more)


@pytest.mark.parametrize("prefix", ["", "swin_unet.", "module.swin_unet."])
def test_swin_unet_of_cao(prefix):
    foreign, values = published.arrived(
        empty(published.cao(prefix)), "swin_unet", segmenter("swin_unet", "t", 9, image=3)
    )
    assert foreign.prefix == prefix
    assert len(values) == 218


@pytest.mark.parametrize("prefix", ["state_dict.", "module.", "state_dict.module."])
def test_two_streams_after_pre_training(prefix):
    both = {path: of for path, of in segmenter("two_stream_swin", "t", 8, s1=2, s2=13).items() if "encoders" in path}
    foreign, values = published.arrived(empty(published.two_streams(prefix)), "ssl_transformer_rs", both)
    assert len(values) == 342
    assert len(foreign.skipped) == 380 - 342


def test_two_streams_after_fine_tuning():
    names = published.two_streams_segmentation()
    shapes = segmenter("two_stream_swin", "t", 8, s1=2, s2=13)
    foreign, values = published.arrived(empty(names), "ssl_transformer_rs", shapes)
    assert len(names) == 1456
    assert len(values) == 640 == len(shapes)
    reasons = list(foreign.skipped.values())
    counts = {why: reasons.count(why) for why in reasons}
    assert counts.pop("is computed where it is needed") == 132
    assert counts.pop("stands there twice, with the same values") == 346
    assert sum(counts.values()) == 338


def test_encoders_in_decoders_that_are_not_the_same_are_an_error():
    arrays = empty(published.two_streams_segmentation(""))
    arrays["decoder2.backbone.norm.bias"] = np.zeros(768, np.float32)
    with pytest.raises(InputError, match=r"decoder2\.backbone\.norm\.bias and backbone2\.norm\.bias differ"):
        published.arrived(arrays, "ssl_transformer_rs", {})


def test_two_streams_of_the_report():
    names = published.two_streams_segmentation("", classes=13)
    names |= {"expand_channels.weight": (13, 3, 1, 1), "expand_channels.bias": (13,)}
    shapes = segmenter("two_stream_swin", "t", 13, adapted=True, s1=2, s2=13)
    _, values = published.arrived(empty(names), "report2024_two_streams", shapes)
    assert values["adapters/s2/kernel"].shape == (1, 1, 3, 13)
    assert len(values) == len(shapes)


def test_two_resnets_with_projections():
    with np.load(PATH, allow_pickle=False) as names:
        layers = unpacked(names["names:torchvision resnet18"])
    del layers["fc.weight"], layers["fc.bias"]
    head = {"fc.0.weight": (512, 512), "fc.0.bias": (512,), "fc.2.weight": (128, 512), "fc.2.bias": (128,)}
    shapes = {}
    for number, bands in ((1, 2), (2, 13)):
        own = layers | head | {"conv1.weight": (64, bands, 7, 7)}
        shapes |= {f"state_dict.backbone{number}.{name}": of for name, of in own.items()}
    model = registry.sized("resnet18_unet")
    template = params.Template(
        lambda rngs: registry.dual_encoder(
            model, channels={"s1": 2, "s2": 13}, projection=128, precision="f32", rngs=rngs
        )
    )
    ours = {path: of.shape for path, of in (template.parameters | template.statistics).items()}
    _, values = published.arrived(empty(shapes), "ssl_transformer_rs_resnet", ours)
    assert len(values) == len(ours)


def test_a_decoder_may_begin_as_the_mirror_of_the_encoder():
    arrays = published.fill(published.microsoft())
    shapes = segmenter("swin_unet", "t", 9, image=3)
    foreign = mirrored(converted(arrays, *recognised(arrays, layouts.ALL, "FILE"), "FILE"), shapes, "FILE")
    # Counted by running the authors' code.
    assert (len(foreign.arrays), len(shapes)) == (197, 218)
    assert foreign.arrays.keys() <= shapes.keys()
    dropped = [name for name, why in foreign.skipped.items() if why.startswith("of a block")]
    assert len(dropped) == 4 * 13
    assert all(re.match(r"model\.layers\.2\.blocks\.[2-5]\.", name) for name in dropped)
    ours = foreign.arrays["decoders/image/stages/0/1/attention/qkv/kernel"]
    np.testing.assert_array_equal(ours, arrays["model.layers.2.blocks.1.attn.qkv.weight"].T)
    assert foreign.names["decoders/image/stages/2/0/mlp_in/bias"] == ("model.layers.0.blocks.0.mlp.fc1.bias",)


def test_what_has_a_decoder_has_no_mirror():
    arrays = empty(published.cao())
    foreign = converted(arrays, *recognised(arrays, layouts.ALL, "FILE"), "FILE")
    with pytest.raises(InputError, match=r"FILE: config\.weights\.decoder='mirrored'"):
        mirrored(foreign, foreign.arrays, "FILE")


def test_merging_by_unfold():
    """Columns of mmsegmentation's merging are (channel, row, column), ours (column, row, channel)."""
    layout = next(one for one in layouts.ALL if one.name == "mmseg_swin")
    places = np.array(
        [[100 * row + 10 * column + channel for row in (0, 1) for column in (0, 1)] for channel in (0, 1)]
    )
    arrays = {
        "stages.0.downsample.norm.weight": places.reshape(-1).astype(np.float32),
        "stages.0.downsample.reduction.weight": np.stack([places.reshape(-1), -places.reshape(-1)]),
    }
    foreign = converted(arrays, layout, "", "FILE")
    expected = [100 * row + 10 * column + channel for column in (0, 1) for row in (0, 1) for channel in (0, 1)]
    np.testing.assert_array_equal(foreign.arrays[f"{ENCODER}merges/0/norm/scale"], expected)
    kernel = foreign.arrays[f"{ENCODER}merges/0/reduction/kernel"]
    np.testing.assert_array_equal(kernel, np.stack([expected, np.negative(expected)], axis=1))


def variant(origin, replaced, by):
    """Names of an origin where some stand for others."""
    names = published.kept_names()[origin]
    return {re.sub(replaced, by, name): of for name, of in names.items()} | names


REFUSED = {
    "timm": (variant("small timm swin", r"relative_position_bias_table", "logit_scale"), "Swin v2"),
    "torchvision": (variant("torchvision swin_t", r"attn\.relative.*table", "attn.cpb_mlp.0.weight"), "Swin v2"),
    "positions": (variant("small timm swin", r"^norm\.bias", "absolute_pos_embed"), "absolute positions"),
    "scaled": (variant("small timm vit", r"norm1\.bias", "ls1.gamma"), "no plain one"),
    "registers": (variant("small timm vit", r"cls_token", "reg_token"), "no plain one"),
    "distilled": (
        variant("transformers vit_small, classes", r"cls_token", "distillation_token"),
        "no plain one",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_with_such_names_are_refused_by_name(name):
    shapes, told = REFUSED[name]
    with pytest.raises(InputError, match=told):
        recognised(empty(shapes), layouts.ALL, "FILE")


@pytest.mark.parametrize("name", OWN)
def test_tables_name_what_there_is(name):
    (layout,) = [one for one in layouts.ALL if one.name == name]
    assert set(layout.models) <= set(registry.FAMILIES)
    assert bool(layout.models) != bool(layout.refused)
    for one in layout.inputs:
        assert set(one.scaling) <= set(SCALINGS)
