"""What a network takes from a pre-training run, by encoder and by band, and what is left alone afterwards."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worlds
from networks import RGB, make, smallest, trained

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, S1, S2
from lcjax.models.interfaces import ParameterGroups
from lcjax.models.resample import space_to_depth
from lcjax.models.transfer import Taken, transfer
from lcjax.tasks import fusion as fusions

# One of each first layer that there is.
FIRST_LAYERS = [
    ("swin_unet", {}),
    ("unet", {}),
    ("unet", {"patch": 2}),
    ("resnet18_unet", {}),
    ("efficientnet_lite0_unet", {}),
    ("vit_pyramid", {}),
]


def config_of(model, fusion, freeze="", **sizes):
    """On Sentinel images, or on aerial ones."""
    config = smallest(model, "" if fusion in ("aerial", "as_sentinel") else fusion, freeze=freeze, **sizes)
    if fusion in ("aerial", "as_sentinel"):
        config.update(dataset="flair1", legend="flair1_12", fusion=fusion)
    return config


def pre_trained(model, **sizes):
    """Groups, parameters and statistics of two encoders without a zero among them."""
    _, template, *flat = make(smallest(model, task="contrastive", **sizes))
    generator = np.random.default_rng(0)
    return template.groups, *(
        {path: (value + generator.uniform(0.1, 0.2, value.shape)).astype(np.float32) for path, value in values.items()}
        for values in flat
    )


def plan_of(fusion, sensors=(), other=("late", (S1, S2))):
    sensors = sensors or worlds.held(fusion)
    return fusions.taken(fusion, fusions.sensors_of(fusion, sensors), *other, "runs/pretrain")


def transferred(model, fusion, **sizes):
    """(template, values before, values after, statistics after, what was pre-trained) of a network."""
    _, template, values, statistics = make(config_of(model, fusion, **sizes))
    groups, learned, running = pre_trained(model, **sizes)
    plan = plan_of(fusion)
    return (
        template,
        values,
        transfer(values, learned, plan, groups, "runs/pretrain"),
        transfer(statistics, running, plan, groups, "runs/pretrain"),
        learned | running,
    )


# ---------------------------------------------------------------------- the plan


def places(sensor):
    return tuple((sensor.name, place, len(sensor.bands)) for place in range(len(sensor.bands)))


def test_streams_of_the_same_name_are_taken_as_they_are():
    both = {"s1": Taken("s1", places(S1)), "s2": Taken("s2", places(S2))}
    assert plan_of("late") == plan_of("early_plus_late") == plan_of("as_sentinel") == both
    assert plan_of("s1") == {"s1": both["s1"]}
    assert plan_of("s2") == {"s2": both["s2"]}


def test_streams_of_other_names_go_on_from_sentinel_2_band_by_band():
    assert plan_of("early") == {"s1_s2": Taken("s2", (*places(S1), *places(S2)))}
    bands = [S2.bands.index(band) for band in ("B4", "B3", "B2", "B8")]
    assert plan_of("aerial") == {"aerial": Taken("s2", (*(("s2", band, 13) for band in bands), None))}
    few = (AERIAL.with_bands(("NIR", "elevation", "R")),)
    assert plan_of("aerial", few)["aerial"].bands == (("s2", 7, 13), None, ("s2", 3, 13))


def test_bands_are_found_by_name():
    turned = dataclasses.replace(S2, bands=S2.bands[::-1])
    assert plan_of("s2", other=("late", (S1, turned)))["s2"].bands == places(S2)[::-1]
    assert plan_of("s2", (S2.with_bands(("B8", "B2")),))["s2"].bands == (("s2", 7, 13), ("s2", 1, 13))


def test_a_run_hands_on_what_it_has_itself():
    """Networks that were trained with labels, too."""
    both = Taken("s1_s2", tuple(("s1_s2", place, 15) for place in range(15)))
    assert plan_of("early", other=("early", (S1, S2))) == {"s1_s2": both}
    own = plan_of("image", (RGB,), other=("image", (RGB,)))
    assert own == {"image": Taken("image", tuple(("image", place, 3) for place in range(3)))}
    assert plan_of("as_sentinel", other=("as_sentinel", (AERIAL,))) == plan_of("late")
    # What has learned from scratch beside others is nobody's to take.
    assert plan_of("early_plus_late", other=("early_plus_late", (S1, S2))) == plan_of("late")


@pytest.mark.parametrize(
    ("fusion", "sensors", "other", "says"),
    [
        ("image", (RGB,), ("late", (S1, S2)), "it holds no encoder for image; its encoders are s1, s2: choose the"),
        ("s2", (S2,), ("early", (S1, S2)), "it holds no encoder for s2; its encoders are s1_s2: choose the"),
        ("s2", (S2,), ("late", (S1, S2.with_bands(S2.bands[1:]))), "know nothing like s2 B1, which s2 is to take"),
        (
            "aerial",
            (AERIAL,),
            ("s2", (S2.with_bands(("B2", "B8")),)),
            "nothing like aerial R, aerial G, which aerial is",
        ),
    ],
)
def test_what_is_not_there_is_refused(fusion, sensors, other, says):
    with pytest.raises(InputError) as raised:
        plan_of(fusion, sensors, other)
    assert str(raised.value).startswith("config.init=runs/pretrain: it")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_band_that_a_stream_needs_is_not_to_be_left_out():
    with pytest.raises(
        InputError, match=r"config\.fusion='as_sentinel': it needs elevation, which config\.bands leave"
    ):
        fusions.sensors_of("as_sentinel", (AERIAL.with_bands(("R", "G", "B", "NIR")),))
    with pytest.raises(InputError, match=r"it needs NIR, G, which .*elevation, R, B; name them, too"):
        fusions.inputs_of("as_sentinel", (AERIAL.with_bands(("elevation", "R", "B")),))


# ---------------------------------------------------------------------- first layers


def first_layer(encoder, image):
    """What the convolution makes that sees the image."""
    if hasattr(encoder, "embed"):
        return np.asarray(encoder.embed(image))
    if hasattr(encoder, "stem"):
        return np.asarray(encoder.stem.conv(image))
    x = space_to_depth(image, encoder.patch)
    return np.asarray(encoder.levels[0].conv1(x.reshape(*x.shape[:3], -1)))


def images(*bands):
    generator = np.random.default_rng(1)
    return [generator.standard_normal((2, 32, 32, count)).astype(np.float32) for count in bands]


@pytest.mark.parametrize(("model", "sizes"), FIRST_LAYERS)
def test_a_joined_first_layer_answers_with_the_sum_of_both(model, sizes):
    template, before, after, statistics, learned = transferred(model, "early", **sizes)
    one, two = images(2, 13)
    encoders = make(smallest(model, task="contrastive", **sizes))[1]
    pair = encoders.merge(
        {path: learned[path] for path in encoders.parameters},
        {path: learned[path] for path in encoders.statistics},
        train=False,
    ).encoders
    joined = template.merge(after, statistics, train=False).encoders["s1_s2"]
    expected = first_layer(pair["s1"], one) + first_layer(pair["s2"], two)
    found = first_layer(joined, np.concatenate([one, two], axis=-1))
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    # All else is the trunk of Sentinel-2, statistics of norms among it; decoders and head begin anew.
    same = {path for path in after if np.array_equal(after[path], learned.get(path.replace("/s1_s2/", "/s2/")))}
    encoder = {path for path in after if path.startswith("encoders/")}
    stem = {path for path in encoder if path.startswith(("encoders/s1_s2/embed/", "encoders/s1_s2/stem/conv/"))}
    stem |= {path for path in encoder if path.startswith("encoders/s1_s2/levels/0/conv1/")}
    assert same == encoder - stem
    assert len(encoder) - len(same) in (1, 2)
    assert all(np.array_equal(after[path], before[path]) for path in after.keys() - encoder)
    for path, value in statistics.items():
        if path.startswith("encoders/"):
            np.testing.assert_array_equal(value, learned[path.replace("/s1_s2/", "/s2/")])


@pytest.mark.parametrize(("model", "sizes"), FIRST_LAYERS)
def test_aerial_bands_are_seen_as_those_of_sentinel_2_that_are_most_alike(model, sizes):
    template, before, after, statistics, learned = transferred(model, "aerial", **sizes)
    (image,) = images(5)
    like = np.zeros((*image.shape[:3], 13), np.float32)
    for place, band in enumerate(("B4", "B3", "B2", "B8")):
        like[..., S2.bands.index(band)] = image[..., place]
    source = make(config_of(model, "s2", **sizes))[1]
    values = {path: learned.get(path, np.zeros(leaf.shape)) for path, leaf in source.parameters.items()}
    running = {path: learned.get(path, np.ones(leaf.shape)) for path, leaf in source.statistics.items()}
    expected = first_layer(source.merge(values, running, train=False).encoders["s2"], like)
    # Elevation has no counterpart, and keeps its initial values.
    elevation = np.zeros_like(image)
    elevation[..., 4] = image[..., 4]
    start = template.merge(before, statistics, train=False).encoders["aerial"]
    expected = expected + first_layer(start, elevation)
    found = first_layer(template.merge(after, statistics, train=False).encoders["aerial"], image)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fusion", ["s1", "s2", "late", "early", "early_plus_late", "aerial", "as_sentinel"])
def test_a_network_from_scratch_is_the_same_network(fusion):
    template, before, after, statistics, learned = transferred("unet", fusion)
    assert {path: (value.shape, value.dtype) for path, value in after.items()} == {
        path: (value.shape, value.dtype) for path, value in before.items()
    }
    other = config_of("unet", fusion)
    other.init = "runs/pretrain"
    assert make(other)[1].parameters == template.parameters
    assert statistics.keys() == template.statistics.keys()
    for path, value in after.items():
        taken = path.startswith("encoders/") and not path.startswith("encoders/own/")
        assert np.array_equal(value, before[path]) != taken, path
        if taken and fusion not in ("early", "aerial"):
            np.testing.assert_array_equal(value, learned[path], err_msg=path)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (smallest("unet", "late"), "it holds no encoders/s1/levels/0/"),
        (smallest("unet", "early"), "it holds no encoders/s2/levels/0/"),
        (smallest("two_stream_swin", embed=16), "has shape ("),
        (smallest("two_stream_swin", "early", patch=2), "encoders/s2/embed/kernel has shape (4, 4, "),
        # A smaller network would find all that it looks for.
        (smallest("two_stream_swin", depths=(1, 1)), "which this network has not"),
    ],
    ids=["family", "trunk", "size", "patch", "depth"],
)
def test_what_does_not_fit_is_refused(config, says):
    values = make(config)[2]
    _, template, source, _ = make(smallest("two_stream_swin", task="contrastive"))
    with pytest.raises(InputError) as raised:
        transfer(values, source, plan_of(config.fusion), template.groups, "runs/pretrain")
    assert str(raised.value).startswith("config.init=runs/pretrain: ")
    assert says in str(raised.value)
    assert "that the pre-training run had" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_a_unet_on_other_patches_is_refused(fusion, before, after):
    """Numbers of inputs alone do not tell pixels from bands."""
    values = make(smallest("unet", fusion, patch=after))[2]
    _, template, source, _ = make(smallest("unet", task="contrastive", patch=before))
    with pytest.raises(InputError, match=r"/levels/0/conv1/kernel has shape \(3, 3, "):
        transfer(values, source, plan_of(fusion), template.groups, "runs/pretrain")


# ---------------------------------------------------------------------- networks of several streams


def merged(made, values):
    _, template, _, statistics = made
    return jax.jit(lambda inputs: template.merge(values, statistics, train=False)(inputs))


def test_an_adapter_mixes_the_bands_of_each_pixel():
    """The network is that of late fusion on what the adapter makes, images that have to be padded among it."""
    adapted, late = make(config_of("swin_unet", "as_sentinel")), make(config_of("swin_unet", "late"))
    values = adapted[2]
    kernel, bias = values["adapters/s2/kernel"], values["adapters/s2/bias"]
    assert kernel.shape == (1, 1, 3, 13) and bias.shape == (13,)
    assert kernel.std() == pytest.approx(math.sqrt(2 / 3), rel=0.3)  # He et al.
    bias = np.linspace(-1, 1, 13, dtype=np.float32)
    values = values | {"adapters/s2/bias": bias}
    assert values.keys() - late[2].keys() == {"adapters/s2/kernel", "adapters/s2/bias"}
    # Those of its classes are of another number.
    same = {path: values.get(path, value) for path, value in late[2].items() if not path.startswith("head/classify/")}
    aerial = np.random.default_rng(0).standard_normal((2, 29, 32, 5)).astype(np.float32)
    sentinel = {"s1": aerial[..., 3:], "s2": aerial[..., :3] @ kernel[0, 0] + bias}
    features = []
    for (_, template, _, statistics), parts, inputs in ((adapted, values, {"aerial": aerial}), (late, same, sentinel)):
        parts = parts | {path: values[path] for path in values if path.startswith("head/classify/")}
        run = jax.jit(lambda inputs, t=template, p=parts, s=statistics: t.merge(p, s, train=False)(inputs))
        features.append(run(inputs))
    assert features[0].shape == (2, 29, 32, 12)
    np.testing.assert_allclose(*features, atol=1e-5)


def test_beside_joins_what_all_three_decoders_make():
    made = make(config_of("unet", "early_plus_late"))
    _, template, values, statistics = made
    assert {path.split("/")[1] for path in values if path.startswith("encoders/")} == {"own", "s1", "s2"}
    one, two = images(2, 13)
    given = {"own": np.concatenate([one, two], axis=-1), "s1": one, "s2": two}

    @jax.jit
    def expected(given):
        network = template.merge(values, statistics, train=False)
        features = [network.decoders[name](network.encoders[name](image))[-1] for name, image in given.items()]
        return network.head(jnp.concatenate(features, axis=-1))

    np.testing.assert_allclose(merged(made, values)({"s1": one, "s2": two}), expected(given), atol=1e-5)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("model", "fusion"),
    [
        ("unet", "late"),
        ("resnet18_unet", "early"),
        ("unet", "s2"),
        ("unet", "early_plus_late"),
        ("swin_unet", "as_sentinel"),
    ],
)
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves(model, fusion):
    template, before, after, _ = trained(config_of(model, fusion, freeze="encoder"), devices=1, size=4, count=2)
    still = {path for path in template.parameters if path.startswith("encoders/")}
    still -= {path for path in still if path.startswith("encoders/own/")}
    assert before.frozen.keys() == after.frozen.keys() == still != set()
    for path in still:
        assert before.frozen[path].tobytes() == after.frozen[path].tobytes(), path
    assert {path for path in after.trainable if np.array_equal(after.trainable[path], before.trainable[path])} == set()
    assert any(path.startswith("adapters/") for path in after.trainable) == (fusion == "as_sentinel")
    assert any(path.startswith("encoders/own/") for path in after.trainable) == (fusion == "early_plus_late")
    for path, value in after.statistics.items():
        frozen = path.startswith("encoders/") and not path.startswith("encoders/own/")
        assert np.array_equal(value, before.statistics[path]) == frozen, path
    known = {
        key.key
        for keys, _ in jax.tree_util.tree_leaves_with_path(after.opt_state)
        for key in keys
        if isinstance(key, jax.tree_util.DictKey)
    }
    assert known == after.trainable.keys()


# ---------------------------------------------------------------------- tables of positions


def table(rows, heads=3):
    return np.random.default_rng(rows).standard_normal((rows, heads)).astype(np.float32)


def table_taken(name, found, wanted):
    path = f"encoders/s2/{name}"
    values = {path: np.zeros(wanted, np.float32)}
    return transfer(
        values, {path: found}, {"s2": Taken("s2", ())}, {"encoders/s2": ParameterGroups()}, "runs/pretrain"
    )[path]


# Window 4 has 7 x 7 relative positions, window 8 15 x 15; a grid of 14 x 14 tokens has a row more, for the class token.
TABLES = [("bias_table", 0, 7, 15), ("bias_table", 0, 15, 7), ("bias_table", 0, 13, 23), ("position", 1, 14, 4),
          ("position", 1, 4, 14)]  # fmt: skip


@pytest.mark.parametrize(("name", "own", "old", "new"), TABLES)
def test_tables_of_positions_are_interpolated_where_their_size_differs(name, own, old, new):
    found = table(own + old**2)
    taken = table_taken(name, found, (own + new**2, 3))
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
    assert table_taken(name, found, (rows, 3)) is found


def test_a_constant_table_stays_so():
    taken = table_taken("bias_table", np.full((49, 3), 2.5, np.float32), (225, 3))
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
    with pytest.raises(InputError, match=rf"{name} has shape \({found[0]}, {found[1]}\), which .* \({wanted[0]}, "):
        table_taken(name, np.zeros(found, np.float32), wanted)


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [("swin_upernet", {"window": 2}, {"window": 4}), ("vit_pyramid", {"grid": 4}, {"grid": 2})],
)
def test_pre_training_with_another_window_or_grid_is_taken(model, before, after):
    _, template, source, _ = make(smallest(model, task="contrastive", **before))
    values = make(smallest(model, "late", **after))[2]
    taken = transfer(values, source, plan_of("late"), template.groups, "runs/pretrain")
    held = {path: (source if path.startswith("encoders/") else values)[path] for path in values}
    resized = {path for path in values if not np.array_equal(taken[path], held[path])}
    assert {path.rsplit("/", 1)[-1] for path in resized} == {"bias_table" if "window" in after else "position"}
    assert all(taken[path].shape == values[path].shape for path in values)


def test_a_network_without_encoders_hands_nothing_on():
    values = {"network/kernel": np.zeros(1, np.float32)}
    with pytest.raises(
        InputError, match=r"config\.init=runs/pretrain: its network has no encoders/s2; expected one of"
    ):
        transfer(values, values, {"s2": Taken("s2", ())}, {}, "runs/pretrain")
