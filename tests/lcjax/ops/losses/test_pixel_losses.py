"""All losses of pixels and their gradients: against float64, over devices, and what they keep in memory."""

import re

import jax
import jax.numpy as jnp
import loss_answers
import numpy as np
import plain_losses
import pytest
from jax.extend.core import Literal
from plain_losses import KINDS, SIZE, WEIGHTS, some

from data_pipelines.schema.legends import IGNORE
from lcjax.ops import losses
from lcjax.parallel import mesh as meshes

# config.loss -> the same in float64, from the articles.
CASES = {
    "cross_entropy": plain_losses.cross_entropy(),
    "cross_entropy(smoothing=0.1)": plain_losses.cross_entropy(0.1),
    "focal": plain_losses.focal(2.0),
    "focal(gamma=0.5)": plain_losses.focal(0.5),
    "generalised_cross_entropy(q=0.4)": plain_losses.generalised_cross_entropy(0.4),
    "symmetric_cross_entropy(alpha=0.3, beta=2)": plain_losses.symmetric_cross_entropy(0.3, 2.0),
    "dice": plain_losses.dice(),
    "dice(smooth=3)": plain_losses.dice(3.0),
    "dice(over=batch)": plain_losses.dice_over_batch(),
    "tversky": plain_losses.tversky(0.3, 0.7),
    "tversky(alpha=0.9, beta=0.2, smooth=1)": plain_losses.tversky(0.9, 0.2, 1.0),
    "lovasz": plain_losses.lovasz,
    "boundary_cross_entropy(gain=3, width=1)": plain_losses.boundary_cross_entropy(3.0, 1),
    "ohem_cross_entropy": plain_losses.ohem_cross_entropy(0.7, 0.0625),
    "ohem_cross_entropy(threshold=0, share=0.3)": plain_losses.ohem_cross_entropy(0.0, 0.3),
}
FOUND = {text: losses.pixel_loss(text) for text in CASES}


def all_of_them(logits, labels, weights, names=tuple(CASES)):
    return {text: jax.value_and_grad(FOUND[text])(logits, labels, weights) for text in names}


compiled = jax.jit(all_of_them, static_argnames="names")


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_the_formulas(kind, weights):
    logits, labels = some(kind)
    found = jax.device_get(compiled(logits, labels, weights))
    wide, of_class = logits.astype(np.float64), labels.astype(int)
    for text, plain in CASES.items():
        loss, gradient = found[text]
        assert loss.dtype == np.float32
        np.testing.assert_allclose(loss, plain(wide, of_class, weights), rtol=1e-5, atol=1e-6, err_msg=text)
        slopes = plain_losses.gradient(plain, wide, of_class, weights)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5, err_msg=text)
        assert not np.any(gradient[labels == IGNORE]), text
        assert kind == "all ignored" or np.any(gradient), text


def test_what_is_ignored_may_hold_any_number():
    logits, labels = some("random")
    other = np.where((labels == IGNORE)[..., None], np.float32([1e30, -1e30, 7, 0]), logits)
    for one, two in zip(*(jax.tree.leaves(compiled(x, labels, WEIGHTS)) for x in (logits, other)), strict=True):
        np.testing.assert_array_equal(one, two)


# One of each way to add up pixels, images and classes.
WAYS = (
    "cross_entropy",
    "dice",
    "dice(over=batch)",
    "lovasz",
    "boundary_cross_entropy(gain=3, width=1)",
    "ohem_cross_entropy",
)


@pytest.mark.parametrize(("weights", "names"), [(None, WAYS[:3]), (WEIGHTS, WAYS)], ids=["", "weighted"])
def test_eight_devices_and_their_replicas_see_the_loss_of_the_batch(weights, names):
    """Replicas with most and with none of the labels: a mean of each one's mean would be another number."""
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((8, *SIZE[1:])).astype(np.float32)
    labels = generator.integers(0, 4, (8, *SIZE[1:3])).astype(np.uint8)
    labels[generator.random(labels.shape) < np.linspace(0, 1, 8)[:, None, None]] = IGNORE
    whole = compiled(logits, labels, weights, names=names)
    mesh = meshes.make_mesh(8, 1, 8)
    with jax.set_mesh(mesh):
        shared = jax.device_put((logits, labels), meshes.batch_sharding(mesh))
        program = compiled.lower(*shared, weights, names=names).compile()
        spread = program(*shared, weights)
    assert len(spread["dice"][1].sharding.device_set) == 8
    # Counts and sums travel, and no examples do.
    assert set(re.findall(r" (all-[a-z]+|collective-permute)(?:-start)?\(", program.as_text())) == {"all-reduce"}

    def of_replica(logits, labels):
        found = all_of_them(logits, labels, None if weights is None else jnp.asarray(weights), names)
        return {text: (meshes.psum(loss), slopes) for text, (loss, slopes) in found.items()}

    mapped = jax.pmap(of_replica, meshes.REPLICAS)(logits[:, None], labels[:, None])
    for text, (loss, gradient) in whole.items():
        np.testing.assert_allclose(spread[text][0], loss, rtol=1e-5, err_msg=text)
        np.testing.assert_allclose(spread[text][1], gradient, rtol=1e-5, atol=1e-7, err_msg=text)
        np.testing.assert_allclose(mapped[text][0], np.full(8, loss), rtol=1e-5, err_msg=text)
        np.testing.assert_allclose(mapped[text][1][:, 0], gradient, rtol=1e-5, atol=1e-7, err_msg=text)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_parts_of_a_batch_by_their_pixels_are_the_whole(weights):
    """As config.accumulate adds them up; what is in no part has no label here, and so does not count."""
    logits, labels = some("random")
    even = (np.arange(len(labels)) % 2 == 0)[:, None, None]
    parts = [np.where(chosen, labels, np.uint8(IGNORE)) for chosen in (even, ~even)]
    counts = [losses.total_weight(part, jnp.ones(4) if weights is None else jnp.asarray(weights)) for part in parts]
    whole, *found = (compiled(logits, part, weights) for part in (labels, *parts))
    for text in CASES:
        added = jax.tree.map(
            lambda *both: sum(n * x for n, x in zip(counts, both, strict=True)) / sum(counts), *(f[text] for f in found)
        )
        same = np.allclose(added[0], whole[text][0], rtol=1e-5) and np.allclose(added[1], whole[text][1], atol=1e-7)
        assert same == (text != "dice(over=batch)"), text
        assert FOUND[text].terms[0].whole_batch == (text == "dice(over=batch)")


def of_labels_alone(jaxpr, inputs, found):
    """What each output of a program is made of, as sets of names.

    Args:
      jaxpr: of the program.
      inputs: what each of its inputs is made of.
      found: a list that gets the arrays that are made of labels and of no logits, if they are no floats or are set at
        indices: all targets begin as one of these. Floats may be the gradient, of which labels alone decide on a part.
    """
    made_of = dict(zip(jaxpr.invars, inputs, strict=True))

    def of(variables):
        return [frozenset() if isinstance(one, Literal) else made_of.get(one, frozenset()) for one in variables]

    for equation in jaxpr.eqns:
        each = of(equation.invars)
        outputs = [frozenset().union(*each)] * len(equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda one: hasattr(one, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns") and len(inner.invars) == len(each):
                outputs = of_labels_alone(inner, each, found)
        alone = [one.aval for one, of in zip(equation.outvars, outputs, strict=True) if of == {"labels"}]
        found += [one for one in alone if one.dtype != jnp.float32 or equation.primitive.name == "scatter"]
        made_of |= zip(equation.outvars, outputs, strict=True)
    return of(jaxpr.outvars)


def largest_of_labels(loss):
    """How many numbers the largest array of the labels holds, in the loss and its gradient; of 128 pixels."""
    logits, labels = np.ones((2, 8, 8, 16), np.float32), np.ones((2, 8, 8), np.uint8)
    program = jax.make_jaxpr(jax.value_and_grad(loss))(logits, labels)
    found: list = []
    of_labels_alone(program.jaxpr, [frozenset({"logits"}), frozenset({"labels"})], found)
    return max(one.size for one in found)


@pytest.mark.parametrize("text", CASES)
def test_targets_of_all_classes_are_never_an_array(text):
    assert largest_of_labels(FOUND[text]) == 2 * 8 * 8


def test_the_check_of_targets_sees_them():
    def one_hot(logits, labels):
        return 1 - jnp.mean(jax.nn.softmax(logits) * jax.nn.one_hot(labels, 16))

    def one_class_after_the_other(logits, labels):  # a loop whose way back keeps the labels of each class
        def of_class(number):
            return jnp.sum(jnp.where(labels == number, jax.nn.softmax(logits)[..., 0], 0.0))

        return jnp.sum(jax.lax.map(of_class, jnp.arange(16, dtype=jnp.uint8)))

    assert largest_of_labels(one_hot) == largest_of_labels(one_class_after_the_other) == 2 * 8 * 8 * 16


@pytest.mark.parametrize("text", ["dice", "lovasz", "focal", "ohem_cross_entropy"])
def test_memory_grows_with_the_logits_and_not_with_their_targets(text):
    """The compiled program holds three arrays as large as the logits at most, beside the logits and their gradient."""
    size = (2, 32, 32, 64)
    shapes = jax.ShapeDtypeStruct(size, jnp.float32), jax.ShapeDtypeStruct(size[:3], jnp.uint8)
    memory = jax.jit(jax.value_and_grad(FOUND[text])).lower(*shapes).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 3.3 * 4 * np.prod(size)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_that_other_libraries_gave(kind, weighted):
    found = jax.device_get(compiled(*some(kind), WEIGHTS if weighted else None))
    with np.load(loss_answers.PATH, allow_pickle=False) as kept:
        for text, of_kind, of_weighted in loss_answers.CASES:
            if (of_kind, of_weighted) == (kind, weighted):
                for what, value in zip("lg", found[text], strict=True):
                    expected = kept[loss_answers.key(text, kind, weighted=weighted, what=what)]
                    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=f"{text} {what}")
