"""lcjax.models: networks from Python, without waiting for jax before one is made."""

import doctest
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lcjax.models
from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.models import params, registry


@pytest.mark.parametrize("name", ["create", "names"])
def test_examples_are_true(name):
    function = getattr(lcjax.models, name)
    tests = doctest.DocTestFinder().find(function, name)
    assert [bool(test.examples) for test in tests] == [True]
    assert doctest.DocTestRunner().run(tests[0]).failed == 0


def test_importing_the_door_does_not_import_jax():
    code = "import sys, lcjax.models as m; m.create, m.names; print(sorted({'jax', 'flax'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_all_of_ours_are_named():
    assert set(registry.FAMILIES) <= set(lcjax.models.names())


def test_values_are_those_that_training_starts_from():
    model = lcjax.models.create("unet", bands={"s2": 3}, classes=5, size="tiny", seed=7, base=4)
    found = params.flatten(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    shapes = {path: jax.ShapeDtypeStruct(value.shape, value.dtype) for path, value in found.items()}
    for path, value in params.init_params(shapes, 7).items():
        np.testing.assert_array_equal(found[path], value)
    assert found["encoders/s2/levels/0/conv1/kernel"].shape == (3, 3, 3, 4)


def test_a_network_of_ones_own_needs_no_further_leave(monkeypatch):
    monkeypatch.setattr(plugins, "_allowed", set())
    model = lcjax.models.create("outsiders:Plain", bands=3, classes=5, width=4)
    x = jnp.ones((2, 4, 6, 3))
    assert model(x).shape == (2, 4, 6, 5)
    np.testing.assert_array_equal(model(x), model({"image": x}))  # in evaluation mode: nothing is dropped


def test_one_image_is_not_enough_for_two_sensors():
    model = lcjax.models.create("unet", bands={"s1": 2, "s2": 3}, classes=5, size="tiny", base=4)
    with pytest.raises(InputError, match=r"one image of shape \(1, 8, 8, 5\) for a network of the sensors s1, s2"):
        model(jnp.ones((1, 8, 8, 5)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "vgg"}, "config.model.name='vgg': expected one of unet, "),
        ({"bands": 0}, "bands of image=0: expected a whole number above 0"),
        ({"bands": {}}, "bands={}: expected a number of bands"),
        ({"classes": True}, "classes=True: expected a whole number above 0"),
        ({"size": "huge"}, "size='huge': unet has the sizes bilinear, transposed, tiny"),
        ({"depth": 3}, "config.model.depth is not known"),
        ({"precision": "f16"}, "config.precision='f16'"),
    ],
)
def test_what_is_no_network_is_refused(arguments, says):
    with pytest.raises(InputError) as raised:
        lcjax.models.create(**{"name": "unet", "bands": 3, "classes": 5} | arguments)
    assert says in str(raised.value)
