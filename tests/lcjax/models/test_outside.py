"""Networks of other packages: built, called, initialised and declared by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import card_of, smallest

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.models import registry
from lcjax.models.interfaces import ParameterGroups
from lcjax.models.params import Template

PLAIN, BY_SENSOR = "outsiders:Plain", "outsiders:BySensor"


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", {"outsiders"})


def template(name=PLAIN, freeze="", bands=None, *, precision="f32", remat=False, metadata=0, **numbers):
    model = registry.sized(name) | numbers
    how = {"precision": precision, "remat": remat, "metadata": metadata}
    return Template(lambda rngs: registry.network(model, bands=bands or {"s2": 3}, classes=5, rngs=rngs, **how), freeze)


def test_sizes_are_those_it_declares_or_the_defaults_of_its_arguments():
    assert registry.sized(PLAIN) == {"name": PLAIN, "width": 8, "rate": 0.5}
    assert registry.sized(PLAIN, "small") == {"name": PLAIN, "width": 4, "rate": 0.5}
    assert registry.sized(PLAIN, "tiny") == registry.sized(PLAIN)  # it has no smaller one of that name
    assert registry.sized(BY_SENSOR) == {"name": BY_SENSOR, "depth": 1, "shape": (1, 1)}
    with pytest.raises(InputError, match=r"size='huge': outsiders:Plain has the sizes base, small"):
        registry.sized(PLAIN, "huge")


def test_a_name_from_a_file_is_refused(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", set())
    for name in ("os:system", PLAIN):
        with pytest.raises(InputError, match=f"config.model.name='{name}': comes from a file"):
            registry.network({"name": name}, bands={"s2": 3}, classes=5, rngs=nnx.Rngs(0))


def test_its_own_initialisers_give_its_values_and_the_seed_decides():
    network = template()
    parameters, statistics = network.initial_values(3)
    assert {path: value.shape for path, value in parameters.items()} == {
        path: leaf.shape for path, leaf in network.parameters.items()
    }
    assert np.all(parameters["network/last/kernel"] == 0.25)  # ours would be drawn
    assert np.all(statistics["network/norm/var"] == 1) and statistics.keys() == network.statistics.keys()
    expected = nnx.Conv(3, 8, (3, 3), rngs=nnx.Rngs(3)).kernel[...]
    np.testing.assert_allclose(parameters["network/first/kernel"], expected, rtol=1e-6)
    again, other = network.initial_values(3)[0], network.initial_values(4)[0]
    for path, value in parameters.items():
        assert value.tobytes() == again[path].tobytes()
    assert np.any(other["network/first/kernel"] != parameters["network/first/kernel"])


def test_dropout_draws_by_key_and_path_and_leaves_nothing_behind():
    network = template(rate=0.5)
    values = jax.device_put(network.initial_values(0))
    assert network.draws and not any("rng" in path for flat in values for path in flat)
    x = jnp.ones((2, 8, 8, 3))

    @jax.jit
    def trained(seed):
        return network.merge(*values, train=True, key=jax.random.key(seed))(x)

    np.testing.assert_array_equal(trained(0), trained(0))
    assert np.any(trained(0) != trained(1))
    model = network.merge(*values, train=False)
    np.testing.assert_array_equal(model(x), model(x))
    model = network.merge(*values, train=True, key=jax.random.key(0))
    first = model.network.dropout(x)
    assert np.any(first != model.network.dropout(x))  # each call draws anew
    assert set(np.unique(first)) == {0.0, 2.0}
    with pytest.raises(ValueError, match="merge needs a key"):
        network.merge(*values, train=True)


def test_a_network_without_dropout_of_its_own_draws_nothing():
    assert not template(BY_SENSOR).draws


def test_one_image_or_images_by_sensor():
    rng = np.random.default_rng(0)
    images = {"s1": rng.standard_normal((1, 4, 6, 2), np.float32), "s2": rng.standard_normal((1, 4, 6, 3), np.float32)}
    network = template(BY_SENSOR, bands={"s1": 2, "s2": 3})
    values, _ = network.initial_values(0)
    expected = sum(
        images[sensor] @ values[f"network/layers/{sensor}/kernel"][0, 0] + values[f"network/layers/{sensor}/bias"]
        for sensor in images
    )
    np.testing.assert_allclose(network.merge(values, {}, train=False)(images), expected, rtol=1e-4, atol=1e-5)
    alone = template()
    model = alone.merge(*alone.initial_values(0), train=False)
    x = images["s2"]
    np.testing.assert_array_equal(model(x), model({"s2": x}))
    with pytest.raises(InputError, match=r"its call takes one image, and this run has the sensors s1, s2; let it take"):
        template(bands={"s1": 2, "s2": 3})


def test_precision_is_given_to_those_who_take_it():
    network = template(BY_SENSOR, precision="bf16")
    text = str(jax.make_jaxpr(network.merge(*network.initial_values(0), train=False))(jnp.ones((1, 4, 4, 3))))
    assert "bf16" in text
    with pytest.raises(InputError, match=r"config\.precision: 'outsiders:Plain' takes no dtype, .* dtype=bfloat16;"):
        template(precision="bf16")
    with pytest.raises(InputError, match=r"config\.remat: 'outsiders:Plain' takes no remat"):
        template(remat=True)


@pytest.mark.parametrize(
    ("name", "numbers", "says"),
    [
        (
            PLAIN,
            {"depth": 3},
            "cannot be built with rate, width, depth, bands, classes, rngs: got an unexpected keyword",
        ),
        ("outsiders:WRONG", {}, "is a int, expected a class or function of"),
        ("outsiders:function", {}, "made a function, expected a flax.nnx.Module"),
        ("outsiders:TwoImages", {}, r"its call takes (x, y); expected (images, keys_B=None), or one image"),
        ("outsiders:Counting", {}, "the network holds network/steps: expected variables of nnx.Param"),
        (PLAIN, {"metadata": 3}, "config.metadata: 'outsiders:Plain' takes images alone"),
    ],
)
def test_what_is_no_network_of_land_cover_is_refused(name, numbers, says):
    with pytest.raises(InputError) as raised:
        template(name, **numbers)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_an_answer_of_another_shape_is_refused():
    network = template("outsiders:coarse")
    model = network.merge(*network.initial_values(0), train=False)
    with pytest.raises(
        InputError, match=r"answer to an image of shape \(1, 8, 8, 3\) is shape \(1, 4, 4, 5\): expected"
    ):
        model(jnp.ones((1, 8, 8, 3)))


def test_what_it_declares_is_frozen():
    network = template(freeze="encoder")
    assert network.groups == {
        "network": ParameterGroups(("first",), (("blocks/0", "norm"), ("blocks/1",)), bands=("first",))
    }
    moving = {path for path in network.parameters if not network.is_frozen(path)}
    assert moving == {"network/last/kernel", "network/last/bias"}
    values = jax.device_put(network.initial_values(0))
    model = network.merge(*values, train=True, key=jax.random.key(0))
    model(jnp.ones((2, 8, 8, 3)))
    for path, value in network.statistics_of(model).items():
        np.testing.assert_array_equal(value, values[1][path])


def test_what_declares_nothing_is_not_frozen():
    with pytest.raises(InputError, match=r"config\.freeze='encoder': the network declares no parameter_groups"):
        template(BY_SENSOR, freeze="encoder")


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"stem": ["frist"]}, "no parameter begins with 'frist'; there are blocks/0/bias"),
        ({"stem": ["first"], "stages": [["first/kernel"]]}, "'first/kernel' is named twice"),
        ({"stem": ["first"], "stages": [["blocks"], ["blocks"]]}, "'blocks' is named twice"),
        ({"stem": "first"}, "its parameter_groups are"),
        ({"stem": ["first"], "stages": ["blocks/0"]}, "its parameter_groups are"),
        ({"steps": []}, "its parameter_groups are"),
        (["first"], "its parameter_groups are"),
        ({}, "its parameter_groups are"),
    ],
)
def test_a_declaration_that_is_none_is_refused(monkeypatch, declared, says):
    import outsiders

    monkeypatch.setattr(outsiders.Plain, "parameter_groups", declared)
    with pytest.raises(InputError) as raised:
        template()
    assert says in str(raised.value)


def test_pre_training_takes_ours_alone():
    config = smallest("unet", task="contrastive")
    config.model = registry.sized(BY_SENSOR)
    with pytest.raises(InputError, match=r"config\.model\.name='outsiders:BySensor': expected one of unet, "):
        Template(tasks.make(config, card_of(config)).build)


def test_an_installed_package_may_give_its_network_a_name(monkeypatch, tmp_path):
    info = tmp_path / "outsiders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outsiders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lcjax.models]\nplain = outsiders:Plain\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_allowed", set())
    assert "plain" in registry.MODELS.names() and not registry.is_built_in("plain")
    network = template("plain")
    assert network.parameters["network/first/kernel"].shape == (3, 3, 3, 8)


def test_a_batch_norm_that_knows_no_groups_is_refused():
    model = registry.sized(PLAIN)
    with pytest.raises(
        InputError, match=r"batch_norm='replica': network/norm is an nnx\.BatchNorm, which normalises by"
    ):
        Template(
            lambda rngs: registry.network(model, bands={"s2": 3}, classes=5, rngs=rngs), normalisation={"groups": 2}
        )
