"""What is computed in which dtype, in every family: read from the traced program."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params
from networks import make, smallest

from lcjax.models import registry, resample

BF16, F32 = jnp.dtype("bfloat16"), jnp.dtype("float32")
PRODUCTS = ("dot_general", "conv_general_dilated")
SUMS = ("reduce_sum", "reduce_max", "exp", "rsqrt")
# The others are the same program as one of these in the size that is used here: see test_overfit.py.
FAMILIES = sorted(registry.FAMILIES.keys() - {"resnet34_unet", "resnet101_unet", "two_stream_swin"})


@pytest.fixture(scope="module", autouse=True)
def strict():
    """A promotion that is not written down raises; but Flax's norms see to float32 themselves."""

    def freely(call):
        def wrapped(*args, **known):
            with jax.numpy_dtype_promotion("standard"):
                return call(*args, **known)

        return wrapped

    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("strict"):
        for owner in (nnx.BatchNorm, nnx.LayerNorm):
            patch.setattr(owner, "__call__", freely(owner.__call__))
        yield


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


@functools.cache
def traced(model, precision):
    """The program of a network that trains: its equations, and the dtypes of logits and statistics."""
    config = smallest(model, "early", drop_path=0.1) if "swin" in model or "vit" in model else smallest(model, "early")
    config.precision = precision
    _, template, values, statistics = make(config)
    assert {leaf.dtype for leaf in (template.parameters | template.statistics).values()} == {F32}
    inputs = {"s1": jnp.zeros((2, 24, 40, 2)), "s2": jnp.zeros((2, 24, 40, 13))}

    def forward(values, statistics, inputs, keys):
        network = template.merge(values, statistics, train=True)
        return network(inputs, keys), template.statistics_of(network)

    jaxpr = jax.make_jaxpr(forward)(values, statistics, inputs, jax.random.split(jax.random.key(0), 2))
    return list(equations(jaxpr.jaxpr)), {aval.dtype for aval in jaxpr.out_avals}


def taken(equation):
    return {atom.aval.dtype for atom in equation.invars}


def is_resampling(equation):
    """An interpolation by weights: of features in their dtype, of logits and of tables of positions in float32."""
    return jax.lax.Precision.HIGHEST in (equation.params["precision"] or ())


@pytest.mark.parametrize("model", FAMILIES)
def test_products_are_in_bf16_but_for_the_classifier(model):
    made, _ = traced(model, "bf16")
    products = [equation for equation in made if equation.primitive.name in PRODUCTS]
    assert all(len(taken(equation)) == 1 for equation in products)
    classifiers = [e for e in products if taken(e) == {F32} and not is_resampling(e)]
    assert len(classifiers) == (2 if model == "swin_unet" else 1)  # CPUs have a form of their own of that head
    assert {classifier.outvars[0].aval.shape[-1] for classifier in classifiers} == {8}  # classes
    assert sum(taken(equation) == {BF16} for equation in products) > 15


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("model", FAMILIES)
def test_logits_and_statistics_are_f32_and_were_never_less(model, precision):
    made, dtypes = traced(model, precision)
    assert dtypes == {F32}
    products = [i for i, e in enumerate(made) if e.primitive.name in PRODUCTS]
    classifier = max(i for i in products if taken(made[i]) == {F32} and not is_resampling(made[i]))
    behind = [variable.aval.dtype for equation in made[classifier:] for variable in equation.outvars]
    assert F32 in behind
    assert BF16 not in behind
    if precision == "f32":
        assert BF16 not in {variable.aval.dtype for equation in made for variable in equation.outvars}


@pytest.mark.parametrize("model", FAMILIES)
def test_softmax_and_norms_are_in_f32(model):
    made, _ = traced(model, "bf16")
    found = {(equation.primitive.name, *taken(equation)) for equation in made if equation.primitive.name in SUMS}
    transformer = "swin" in model or "vit" in model
    expected = {("reduce_sum", F32), ("rsqrt", F32)} | ({("exp", F32), ("reduce_max", F32)} if transformer else set())
    assert found == expected


def test_a_promotion_that_is_not_written_down_would_be_found():
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.zeros(2, BF16) + jnp.zeros(2, F32)


def test_means_in_bf16_are_means():
    image = jnp.full((1, 7, 7, 3), 1.0, jnp.bfloat16)
    for bins in (1, 2, 3, 6):
        found = resample.average_pool(image, bins)
        assert found.dtype == jnp.bfloat16
        assert found.shape == (1, bins, bins, 3)
        assert jnp.all(found == 1)
