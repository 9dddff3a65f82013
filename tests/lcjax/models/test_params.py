"""Flat parameters: there and back, how they start, what is frozen."""

import functools
import math
import re

import jax
import numpy as np
import pytest
from networks import make, smallest

from data_pipelines.schema.errors import InputError
from lcjax.models import params
from lcjax.models.interfaces import begins
from lcjax.models.registry import FAMILIES

NESTED = {"head": {"kernel": 1}, "levels": {0: {"a": 2}, 10: {"a": 3}, 2: {"a": 4}}, "top": 5}
FLAT = {"head/kernel": 1, "levels/0/a": 2, "levels/10/a": 3, "levels/2/a": 4, "top": 5}


def test_flatten_and_unflatten_are_inverse():
    assert params.flatten(NESTED) == FLAT
    assert params.unflatten(FLAT) == NESTED
    assert params.flatten({}) == params.unflatten({}) == {}


@pytest.fixture(scope="module")
def two_streams():
    return make(smallest("two_stream_swin"))


def test_merging_gives_the_values_to_their_places(two_streams):
    _, template, values, statistics = two_streams
    model = template.merge(values, statistics, train=False)
    block = model.encoders["s1"].stages[0][1]
    np.testing.assert_array_equal(
        block.attention.qkv.kernel[...], values["encoders/s1/stages/0/1/attention/qkv/kernel"]
    )
    np.testing.assert_array_equal(model.head.classify.kernel[...], values["head/classify/kernel"])


def test_initial_values_depend_on_path_and_seed_alone(two_streams):
    _, template, values, _ = two_streams
    backwards = params.init_params(dict(reversed(template.parameters.items())), 0)
    other = params.init_params(template.parameters, 1)
    for path in values:
        np.testing.assert_array_equal(values[path], backwards[path])
        assert values[path].dtype == np.float32
        assert values[path].shape == template.parameters[path].shape
        if path.endswith(("kernel", "bias_table")):
            assert not np.array_equal(values[path], other[path])
    streams = [f"encoders/{stream}/stages/0/0/mlp_in/kernel" for stream in ("s1", "s2")]
    assert not np.array_equal(*(values[path] for path in streams))


DENSE = 0.02


@pytest.mark.parametrize("model", ["unet", "two_stream_swin"])
def test_deviations_are_those_of_the_articles(model):
    _, template, _, _ = make(smallest(model))
    grown = {
        # More entries, so that the deviation is seen well; the fan-in stays.
        path: jax.ShapeDtypeStruct((*leaf.shape[:-1], 64 * leaf.shape[-1]), leaf.dtype)
        for path, leaf in (template.parameters | template.statistics).items()
    }
    for path, value in params.init_params(grown, 0).items():
        if re.search(r"/(scale|var)$", path):
            assert np.all(value == 1), path
        elif re.search(r"/(bias|mean)$", path):
            assert np.all(value == 0), path
        else:
            convolution = value.ndim == 4
            expected = math.sqrt(2 / math.prod(value.shape[:-1])) if convolution else DENSE
            assert value.std() == pytest.approx(expected, rel=0.1), path
            assert abs(value.mean()) < 0.2 * expected, path


@pytest.mark.parametrize("freeze", ["", "encoder"])
def test_only_the_encoders_are_frozen(freeze):
    _, template, _, _ = make(smallest("unet", freeze=freeze))
    frozen = {path for path in template.parameters if template.is_frozen(path)}
    assert frozen == {path for path in template.parameters if path.startswith("encoders/")} if freeze else not frozen
    assert len(frozen) < len(template.parameters)


@pytest.mark.parametrize("model", FAMILIES)
def test_every_parameter_of_an_encoder_is_in_one_group_and_no_other_is(model):
    _, template, _, _ = make(smallest(model, "early_plus_late"))
    assert template.groups.keys() == {"encoders/s1", "encoders/s2"}  # the third learns from scratch
    for path in template.parameters:
        groups = [
            number
            for encoder, own in template.groups.items()
            for number, layer in enumerate(own.layers)
            if begins(path.removeprefix(f"{encoder}/"), layer)
        ]
        assert len(groups) == path.startswith(tuple(f"{encoder}/" for encoder in template.groups)), path
    # Those that know of bands are those that differ between the encoders.
    for path, leaf in template.parameters.items():
        if path.startswith("encoders/s1/"):
            below = path.removeprefix("encoders/s1/")
            differs = leaf.shape != template.parameters[f"encoders/s2/{below}"].shape
            assert differs == (begins(below, template.groups["encoders/s1"].bands) and len(leaf.shape) > 1), path


def test_a_leaf_without_initial_value_is_named():
    with pytest.raises(
        InputError, match=r"parameter gate/alpha: no initial value is known for it; expected a name that"
    ):
        params.init_params({"gate/alpha": jax.ShapeDtypeStruct((3,), np.float32)}, 0)


def test_an_unknown_freeze_is_refused():
    with pytest.raises(InputError, match=r"config\.freeze='decoder': expected one of '', 'encoder'"):
        make(smallest("unet", freeze="decoder"))


@pytest.mark.parametrize(
    ("model", "freeze", "says"),
    [
        ("unet", "decoder", r"config\.freeze_statistics='decoder': expected one of '', 'encoder'"),
        (
            "swin_unet",
            "encoder",
            r"config\.freeze_statistics='encoder': the encoders of this network have no batch norm",
        ),
    ],
)
def test_statistics_that_are_not_there_are_not_frozen(model, freeze, says):
    task, *_ = make(smallest(model))
    with pytest.raises(InputError, match=says):
        params.Template(task.build, freeze_statistics=freeze)


# What the layers of PyTorch, and Swin's own code, draw: (fan-in, deviation of kernels, whether biases are drawn).
_DRAWN = {
    "encoders/s2/embed": ((4, 4, 13, 96), 0.040, True),
    "encoders/s1/embed": ((4, 4, 2, 96), 0.101, True),
    "encoders/s1/stages/0/0/attention/qkv": ((96, 288), 0.02, False),
    "encoders/s1/stages/0/0/mlp_in": ((96, 384), 0.02, False),
    "decoders/s1/stages/0/0/mlp_out": ((1536, 384), 1536**-0.5 / 3**0.5, True),  # 0.0147
    "decoders/s1/joins/0": ((192, 96), 192**-0.5 / 3**0.5, True),
    "head/expand/expand": ((192, 3072), 192**-0.5 / 3**0.5, True),
    "decoders/image/levels/0/conv1": ((3, 3, 24, 400), 216**-0.5 / 3**0.5, True),
}


def _shapes_of(layers):
    named = {f"{layer}/{name}": shape for layer, (shape, *_) in layers.items() for name in ("kernel", "bias")}
    return {
        path: jax.ShapeDtypeStruct(shape if path.endswith("kernel") else shape[-1:], np.float32)
        for path, shape in named.items()
    }


def test_initial_values_of_pytorch_have_its_deviations():
    norms = {f"decoders/s1/norm/{name}": jax.ShapeDtypeStruct((96,), np.float32) for name in ("scale", "bias")}
    values = params.init_params(_shapes_of(_DRAWN) | norms, 0, "pytorch")
    for layer, (shape, deviation, biased) in _DRAWN.items():
        kernel, bias = values[f"{layer}/kernel"], values[f"{layer}/bias"]
        assert kernel.dtype == bias.dtype == np.float32
        assert kernel.std() == pytest.approx(deviation, rel=0.03), layer
        uniform = np.abs(kernel).max() < 1.75 * kernel.std()  # a normal one reaches three deviations
        assert uniform == (deviation != 0.02), layer
        assert np.any(bias) == biased
        if biased:  # as the kernel
            assert np.abs(bias).max() <= math.prod(shape[:-1]) ** -0.5
            assert bias.std() == pytest.approx(deviation, rel=0.2)
    assert np.all(values["decoders/s1/norm/scale"] == 1) and not np.any(values["decoders/s1/norm/bias"])


def test_of_swin_unet_the_convolutions_alone_begin_as_in_pytorch():
    shapes = make(smallest("swin_unet"))[1].parameters
    ours, theirs = (params.init_params(shapes, 0, name) for name in ("ours", "swin_unet"))
    differ = {path for path in shapes if not np.array_equal(ours[path], theirs[path])}
    (stream,) = {path.split("/")[1] for path in shapes if path.startswith("encoders/")}
    embed = f"encoders/{stream}/embed"
    assert differ == {f"{embed}/kernel", f"{embed}/bias", "head/classify/kernel"}


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("initializer", params.INITIALIZERS)
def test_every_initializer_has_values_for_every_network(model, initializer):
    _, template, _, _ = _networks(model)
    values = params.init_params(template.parameters, 0, initializer)
    assert all(np.isfinite(value).all() and value.shape for value in values.values())


@functools.cache
def _networks(model):
    return make(smallest(model))


def test_an_unknown_initializer_is_refused():
    with pytest.raises(InputError, match=r"config\.initializer='keras': expected one of ours, pytorch, swin_unet"):
        params.init_params({}, 0, "keras")


def test_norm_is_over_all_entries():
    assert float(params.norm({"a": np.full((2, 2), 3.0, np.float32), "b": np.full(7, 2.0, np.float16)})) == 8.0
    assert float(params.norm({})) == 0.0
