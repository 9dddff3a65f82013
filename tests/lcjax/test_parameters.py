"""Flat parameters: there and back, how they start, what is frozen, what is taken from another run."""

import math
import re

import jax
import numpy as np
import pytest
from networks import make, smallest

from data_pipelines.errors import InputError
from lcjax import parameters

NESTED = {"head": {"kernel": 1}, "levels": {0: {"a": 2}, 10: {"a": 3}, 2: {"a": 4}}, "top": 5}
FLAT = {"head/kernel": 1, "levels/0/a": 2, "levels/10/a": 3, "levels/2/a": 4, "top": 5}


def test_flatten_and_unflatten_are_inverse():
    assert parameters.flatten(NESTED) == FLAT
    assert parameters.unflatten(FLAT) == NESTED
    assert parameters.flatten({}) == parameters.unflatten({}) == {}


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
    backwards = parameters.initial(dict(reversed(template.parameters.items())), 0)
    other = parameters.initial(template.parameters, 1)
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
    for path, value in parameters.initial(grown, 0).items():
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


def test_an_unknown_freeze_is_refused():
    with pytest.raises(InputError, match=r"config\.freeze='decoder': expected one of '', 'encoder'"):
        make(smallest("unet", freeze="decoder"))


def test_transfer_takes_the_encoders_and_nothing_else(two_streams):
    _, _, values, _ = two_streams
    source_template = make(smallest("two_stream_swin", task="contrastive"))[1]
    source = parameters.initial(source_template.parameters, 1)
    taken = parameters.transfer(values, source, "encoders", "runs/pretrain")
    assert taken.keys() == values.keys()
    for path in values:
        assert taken[path] is (source if path.startswith("encoders/") else values)[path]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (smallest("two_stream_swin", "early"), "config.init=runs/pretrain: it holds no encoders/s1_s2/"),
        (smallest("unet", "late"), "config.init=runs/pretrain: it holds no encoders/s1/levels/0/"),
        (smallest("two_stream_swin", embed=16), "has shape ("),
        # A smaller network would find all that it looks for.
        (smallest("two_stream_swin", depths=(1, 1)), "which this network has not"),
    ],
    ids=["fusion", "family", "size", "depth"],
)
def test_what_does_not_fit_is_refused(config, says):
    values = make(config)[2]
    source = make(smallest("two_stream_swin", task="contrastive"))[2]
    with pytest.raises(InputError) as raised:
        parameters.transfer(values, source, "encoders", "runs/pretrain")
    assert says in str(raised.value)
    assert "that the pre-training run had" in str(raised.value)
    assert "\n" not in str(raised.value)


def table(rows, heads=3):
    return np.random.default_rng(rows).standard_normal((rows, heads)).astype(np.float32)


def transferred(name, found, wanted):
    path = f"encoders/s2/{name}"
    values = {path: np.zeros(wanted, np.float32)}
    return parameters.transfer(values, {path: found}, "encoders", "runs/pretrain")[path]


# Window 4 has 7 x 7 relative positions, window 8 15 x 15; a grid of 14 x 14 tokens has a row more, for the class token.
TABLES = [("bias_table", 0, 7, 15), ("bias_table", 0, 15, 7), ("bias_table", 0, 13, 23), ("position", 1, 14, 4),
          ("position", 1, 4, 14)]  # fmt: skip


@pytest.mark.parametrize(("name", "own", "old", "new"), TABLES)
def test_tables_of_positions_are_interpolated_where_their_size_differs(name, own, old, new):
    found = table(own + old**2)
    taken = transferred(name, found, (own + new**2, 3))
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken[:own], found[:own])
    # Each place by itself, along columns and then along rows, from the four nearest of each.
    square = found[own:].reshape(old, old, 3)
    expected = along(along(square, new).swapaxes(0, 1), new).swapaxes(0, 1)
    np.testing.assert_allclose(taken[own:], expected.reshape(-1, 3), atol=1e-5)


def along(square, new):
    """Cubic convolution with a = -0.75 along the first axis, written out."""
    old = len(square)

    def weight(x):
        x, a = abs(x), -0.75
        return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x <= 1 else a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    rows = []
    for i in range(new):
        centre = (i + 0.5) * old / new - 0.5
        first = math.floor(centre)
        taps = range(first - 1, first + 3)
        rows.append(sum(weight(centre - tap) * square[min(max(tap, 0), old - 1)] for tap in taps))
    return np.stack(rows)


@pytest.mark.parametrize(("name", "rows"), [("bias_table", 49), ("position", 17)])
def test_tables_of_equal_size_are_untouched(name, rows):
    found = table(rows)
    assert transferred(name, found, (rows, 3)) is found


def test_a_constant_table_stays_so():
    taken = transferred("bias_table", np.full((49, 3), 2.5, np.float32), (225, 3))
    np.testing.assert_allclose(taken, 2.5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "found", "wanted"),
    [
        ("bias_table", (50, 3), (225, 3)),  # no square
        ("bias_table", (49, 2), (225, 3)),  # other heads
        ("position", (16, 3), (197, 3)),  # no class token
        ("kernel", (49, 3), (225, 3)),  # no table
    ],
)
def test_other_shapes_are_not_interpolated(name, found, wanted):
    with pytest.raises(InputError, match=rf"{name} has shape \({found[0]}, {found[1]}\), expected \({wanted[0]}, "):
        transferred(name, np.zeros(found, np.float32), wanted)


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [("swin_upernet", {"window": 2}, {"window": 4}), ("vit_pyramid", {"grid": 4}, {"grid": 2})],
)
def test_pre_training_with_another_window_or_grid_is_taken(model, before, after):
    source = make(smallest(model, task="contrastive", **before))[2]
    values = make(smallest(model, "late", **after))[2]
    taken = parameters.transfer(values, source, "encoders", "runs/pretrain")
    resized = {path for path in values if taken[path] is not (source if path.startswith("encoders/") else values)[path]}
    assert {path.rsplit("/", 1)[-1] for path in resized} == {"bias_table" if "window" in after else "position"}
    assert all(taken[path].shape == values[path].shape for path in values)


def test_norm_is_over_all_entries():
    assert float(parameters.norm({"a": np.full((2, 2), 3.0, np.float32), "b": np.full(7, 2.0, np.float16)})) == 8.0
    assert float(parameters.norm({})) == 0.0
