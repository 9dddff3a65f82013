"""Directions against formulas and optax; the rate that is logged is the rate that is applied."""

import jax
import jax.numpy as jnp
import ml_collections
import networks
import numpy as np
import optax
import pytest
from flax import nnx

from data_pipelines.schema.errors import InputError
from lcjax.engine import optimizer as optimizers
from lcjax.engine.schedule import LearningRate
from lcjax.engine.state import initial_state, with_lr_multiplier
from lcjax.engine.train_step import compile_train_step, train_step
from lcjax.models import params
from lcjax.models.interfaces import ParameterGroups
from lcjax.models.registry import FAMILIES
from lcjax.parallel import mesh as meshes


def config(**changes):
    fields = {"name": "adamw", "weight_decay": 0.0, "momentum": 0.0, "clip": 0.0, "layer_decay": 1.0}
    fields |= {"decay_all": False, "no_decay": "", "clip_by": "global_norm"}
    return ml_collections.ConfigDict(fields | changes)


class Line(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Linear(3, 1, rngs=rngs)


class Regression:
    """The smallest task: a dense layer and half the mean square."""

    def loss(self, model, batch, keys_B):
        return 0.5 * jnp.mean(model.conv1(batch["x"]) ** 2), {}


def first_step(schedule="cosine", scale=1.0, **changes):
    """(values before, values after, gradient, metrics) of one step of the real step function."""
    template = params.Template(Line)
    values = params.init_params(template.parameters, 0) | {"conv1/bias": np.full(1, 0.5, np.float32)}
    optimizer = optimizers.make_optimizer(config(**changes))
    rate = LearningRate(0.3, warmup=3, total=10, schedule=schedule)
    mesh = meshes.make_mesh(1, 1, 4)
    state = with_lr_multiplier(initial_state(template, values, {}, optimizer, mesh), scale)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    batch = meshes.global_batch({"x": x, "example": np.arange(4, dtype=np.uint32)}, meshes.batch_sharding(mesh))
    step = train_step(Regression(), template, optimizer, rate, 0)
    state, metrics = compile_train_step(step, state, batch)(state, batch)
    y = x @ values["conv1/kernel"] + values["conv1/bias"]
    gradient = {"conv1/kernel": x.T @ y / 4, "conv1/bias": y.mean(0)}
    return values, jax.device_get(state.trainable), gradient, jax.device_get(metrics)


@pytest.mark.parametrize(("schedule", "scale"), [("cosine", 1.0), ("constant", 1.0), ("plateau", 0.25)])
def test_the_rate_that_is_logged_is_the_rate_that_is_applied(schedule, scale):
    before, after, gradient, metrics = first_step(schedule, scale, name="sgd")
    assert metrics["learning_rate"] == pytest.approx(0.1 * scale)  # a third of the way up
    for path in before:
        moved = before[path] - after[path]
        np.testing.assert_allclose(moved, metrics["learning_rate"] * gradient[path], rtol=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradient.values())), rel=1e-5)


def test_the_first_step_of_adam_has_the_length_of_the_rate():
    before, after, gradient, metrics = first_step()
    for path in before:
        np.testing.assert_allclose(
            before[path] - after[path], metrics["learning_rate"] * np.sign(gradient[path]), rtol=1e-4
        )


def direction(gradient, values, groups=None, **changes):
    transformation = optimizers.make_optimizer(config(**changes), groups)
    return transformation.update(gradient, transformation.init(values), values)[0]


PATHS = ("a/kernel", "a/bias", "norm/scale", "norm/bias", "attention/bias_table", "embed/kernel")


def test_kernels_alone_decay():
    values = {path: jnp.full(3, 2.0) for path in PATHS}
    found = direction({path: jnp.zeros(3) for path in PATHS}, values, name="sgd", weight_decay=0.1)
    decayed = {path for path in PATHS if np.any(found[path])}
    assert decayed == {"a/kernel", "embed/kernel"}
    np.testing.assert_allclose(found["a/kernel"], 0.2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adamw", optax.adamw(0.05, weight_decay=0.1)),
        ("sgd", optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.05, momentum=0.9))),
        ("adam", optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.05))),
    ],
)
def test_all_parameters_decay_where_that_is_asked_for(name, theirs):
    values = some_values()
    state = theirs.init(values)
    for gradient in gradients(4):
        update, state = theirs.update(gradient, state, values)
        values = optax.apply_updates(values, update)
    close(descended(name, decay_all=True), values)


def test_every_parameter_of_a_network_is_on_the_right_side():
    from networks import make, smallest

    tables = ("bias_table", "position", "class_token")
    for model in ("unet", "two_stream_swin", "resnet50_unet", "efficientnet_lite0_unet", "vit_pyramid"):
        _, template, _, _ = make(smallest(model))
        for path, shape in template.parameters.items():
            assert optimizers._decays(path) == (len(shape.shape) >= 2 and not path.endswith(tables)), path


def test_the_clip_is_of_the_global_norm():
    values = {path: jnp.zeros(3) for path in PATHS}
    gradient = {path: jnp.full(3, 4.0) for path in PATHS}
    found = direction(gradient, values, name="sgd", clip=1.0)
    assert float(params.norm(found)) == pytest.approx(1.0)
    assert float(params.norm(direction(gradient, values, name="sgd", clip=0.0))) == pytest.approx(4 * 18**0.5)


def clipped(gradient, values, **changes):
    return direction(gradient, values, name="sgd", **changes)


def test_each_parameter_can_be_clipped_by_itself():
    gradient = {"a/kernel": jnp.array([3.0, 4.0]), "a/bias": jnp.array([0.3, 0.4]), "b/bias": jnp.zeros(2)}
    found = clipped(gradient, gradient, clip=1.0, clip_by="norm")
    np.testing.assert_allclose(found["a/kernel"], [0.6, 0.8], rtol=1e-6)
    for path in ("a/bias", "b/bias"):
        np.testing.assert_array_equal(found[path], gradient[path])


def test_each_number_can_be_clipped_by_itself():
    found = clipped({"a/kernel": jnp.array([3.0, -4.0, 0.5])}, {"a/kernel": jnp.zeros(3)}, clip=2.0, clip_by="value")
    np.testing.assert_array_equal(found["a/kernel"], [2, -2, 0.5])


def test_adaptive_clipping_is_by_the_weights_of_each_unit():
    generator = np.random.default_rng(0)
    weights, gradient = generator.standard_normal((2, 3, 3, 4, 5)).astype(np.float32)
    gradient *= np.array([1e-3, 0.05, 1, 10, 100], np.float32)
    found = clipped({"a/kernel": gradient}, {"a/kernel": weights}, clip=0.1, clip_by="adaptive")["a/kernel"]
    norm, largest = (np.sqrt(np.square(x).sum((0, 1, 2))) for x in (gradient, weights))
    expected = gradient * np.minimum(1, 0.1 * largest / norm)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.any(expected != gradient) and np.any(expected == gradient)


def test_what_the_expression_finds_does_not_decay():
    values = {path: jnp.full(3, 2.0) for path in PATHS}
    nothing = {path: jnp.zeros(3) for path in PATHS}
    for changes, decayed in (
        ({"no_decay": "^embed/"}, {"a/kernel"}),
        ({"no_decay": "norm|bias", "decay_all": True}, {"a/kernel", "embed/kernel"}),
    ):
        found = direction(nothing, values, name="sgd", weight_decay=0.1, **changes)
        assert {path for path in PATHS if np.any(found[path])} == decayed


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (
            "embd/",
            r"^config\.optimizer\.no_decay='embd/': finds none of the 6 trained parameters, such as a/kernel; expec",
        ),
        ("(head", r"^config\.optimizer\.no_decay='\(head': missing \), .*; expected a regular expression of paths"),
    ],
)
def test_an_expression_that_finds_nothing_is_refused(expression, says):
    asked = ml_collections.ConfigDict({"optimizer": config(no_decay=expression)})
    with pytest.raises(InputError, match=says):
        optimizers.check_no_decay(asked, PATHS)


def test_an_expression_that_finds_something_is_taken():
    for expression in ("", "^embed/"):
        optimizers.check_no_decay(ml_collections.ConfigDict({"optimizer": config(no_decay=expression)}), PATHS)


def test_momentum_adds_up():
    transformation = optimizers.make_optimizer(config(name="sgd", momentum=0.9))
    values = {"a/kernel": jnp.zeros(1)}
    state = transformation.init(values)
    found = []
    for _ in range(3):
        step, state = transformation.update({"a/kernel": jnp.ones(1)}, state, values)
        found.append(float(step["a/kernel"][0]))
    assert found == pytest.approx([1.0, 1.9, 2.71])


RATE, DECAY, MOMENTUM = 0.05, 0.1, 0.9


def some_values():
    generator = np.random.default_rng(0)
    return {path: generator.standard_normal((4, 3)).astype(np.float32) for path in PATHS}


def gradients(count):
    generator = np.random.default_rng(1)
    return [{path: generator.standard_normal((4, 3)).astype(np.float32) for path in PATHS} for _ in range(count)]


def descended(name, rates=(RATE,) * 4, **changes):
    """Values after steps of the optimiser of that name."""
    transformation = optimizers.make_optimizer(config(name=name, weight_decay=DECAY, momentum=MOMENTUM, **changes))
    values = some_values()
    state = transformation.init(values)
    for rate, gradient in zip(rates, gradients(len(rates)), strict=True):
        update, state = transformation.update(gradient, state, values)
        values = {path: values[path] - rate * update[path] for path in values}
    return values


def close(found, expected):
    for path in PATHS:
        np.testing.assert_allclose(found[path], expected[path], rtol=2e-5, atol=1e-6, err_msg=path)


KERNELS = {path: path in ("a/kernel", "embed/kernel") for path in PATHS}


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adamw", optax.adamw(RATE, weight_decay=DECAY, mask=KERNELS)),
        ("lars", optax.lars(RATE, DECAY, KERNELS, 0.001, trust_ratio_mask=KERNELS, momentum=MOMENTUM)),
        ("lamb", optax.lamb(RATE, weight_decay=DECAY, mask=KERNELS)),
    ],
)
def test_steps_are_those_of_optax(name, theirs):
    values = some_values()
    state = theirs.init(values)
    for gradient in gradients(4):
        update, state = theirs.update(gradient, state, values)
        values = optax.apply_updates(values, update)
    close(descended(name), values)


def by_hand(path, rates, direction):
    """One parameter after steps along direction(number, gradient, value), in float64."""
    value = some_values()[path].astype(np.float64)
    for number, (rate, gradient) in enumerate(zip(rates, gradients(len(rates)), strict=True), 1):
        value = value - rate * direction(number, gradient[path].astype(np.float64), value)
    return value


class Momentum:
    """v = m v + g, as torch.optim.SGD; g is the gradient and the decay, in LARS times their trust ratio."""

    def __init__(self, decay, trust=None):
        self.decay, self.trust, self.velocity = decay, trust, 0.0

    def __call__(self, number, gradient, value):
        gradient = gradient + self.decay * value
        if self.trust:
            gradient = gradient * self.trust * np.linalg.norm(value) / np.linalg.norm(gradient)
        self.velocity = MOMENTUM * self.velocity + gradient
        return self.velocity


class CoupledAdam:
    """As torch.optim.Adam: the decay is part of the gradient whose moments are taken."""

    def __init__(self, decay):
        self.decay, self.first, self.second = decay, 0.0, 0.0

    def __call__(self, number, gradient, value):
        gradient = gradient + self.decay * value
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        return self.first / (1 - 0.9**number) / (np.sqrt(self.second / (1 - 0.999**number)) + 1e-8)


@pytest.mark.parametrize(
    ("name", "kernel", "other"),
    [
        ("adam", lambda: CoupledAdam(DECAY), lambda: CoupledAdam(0.0)),
        ("sgd", lambda: Momentum(DECAY), lambda: Momentum(0.0)),
        ("lars", lambda: Momentum(DECAY, 0.001), lambda: Momentum(0.0)),
    ],
)
def test_steps_of_changing_rates_are_those_of_the_formulas(name, kernel, other):
    rates = (0.05, 0.1, 0.02, 0.02, 0.01)
    close(
        descended(name, rates), {path: by_hand(path, rates, kernel() if KERNELS[path] else other()) for path in PATHS}
    )


def test_the_state_of_adamw_is_that_of_earlier_checkpoints():
    before = optax.chain(
        optax.identity(), optax.scale_by_adam(), optax.add_decayed_weights(0.01, mask=lambda values: KERNELS)
    )
    values = some_values()
    assert jax.tree.structure(optimizers.make_optimizer(config()).init(values)) == jax.tree.structure(
        before.init(values)
    )


# How often the rate of each part of an encoder is multiplied by layer_decay: convolutional encoders and transformers.
_BACKBONE = {"stem": 5, "stages/0": 4, "stages/1": 3, "stages/2": 2, "stages/3": 1}
_SWIN = {"embed": 3, "embed_norm": 3, "stages/0": 2, "merges/0": 2, "stages/1": 1, "norm": 0}
TIMES = {
    "unet": {f"levels/{level}": 5 - level for level in range(5)},
    **{f"resnet{depth}_unet": _BACKBONE for depth in (18, 34, 50, 101)},
    "efficientnet_lite0_unet": {"stem": 6} | {f"stages/{stage}": 5 - stage for stage in range(5)},
    "swin_unet": _SWIN,
    "two_stream_swin": _SWIN,
    "swin_upernet": _SWIN | {"norms/0": 2},
    "vit_pyramid": dict.fromkeys(("embed", "position", "class_token"), 4)
    | {f"stages/{block}": 3 - block for block in range(3)}
    | dict.fromkeys(("norm", "finest1", "finest_norm", "finest2", "finer"), 0),
}


@pytest.mark.parametrize("model", FAMILIES)
def test_rates_fall_from_layer_to_layer_towards_the_image(model):
    _, template, _, _ = networks.make(networks.smallest(model, **({"depth": 3} if model == "vit_pyramid" else {})))
    factors = optimizers.layerwise_factors(template.parameters, template.groups, 0.5)
    assert factors.keys() == template.parameters.keys()
    found = set()
    for path, factor in factors.items():
        module, _, rest = path.partition("/")
        if module != "encoders":
            assert factor == 1.0, path
            continue
        part = next(part for part in TIMES[model] if f"{rest.partition('/')[2]}/".startswith(f"{part}/"))
        assert factor == 0.5 ** TIMES[model][part], path
        found.add(part)
    assert found == TIMES[model].keys()


def test_each_stream_is_counted_by_itself_and_what_is_not_an_encoder_keeps_the_rate():
    paths = ("encoders/s1/stem/kernel", "encoders/s1/stages/0/kernel", "encoders/s2/levels/0/kernel")
    others = (
        "adapters/s2/kernel",
        "decoders/s1/stages/0/0/kernel",
        "encoders/own/levels/0/kernel",
        "head/kernel",
        "projections/s1/hidden/kernel",
    )
    groups = {
        "encoders/s1": ParameterGroups(("stem",), (("stages/0",),)),
        "encoders/s2": ParameterGroups(stages=(("levels/0",),)),
    }
    assert optimizers.layerwise_factors((*paths, *others), groups, 0.1) == dict.fromkeys(others, 1.0) | dict(
        zip(paths, (0.1**2, 0.1, 0.1), strict=True)
    )


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars", "lamb"])
def test_the_direction_is_multiplied_by_the_factor_of_its_layer(name):
    paths = ("encoders/s2/embed/kernel", "encoders/s2/stages/0/0/kernel", "encoders/s2/stages/1/0/bias", "head/kernel")
    values = dict(zip(paths, list(some_values().values())[:4], strict=True))
    gradient = dict(zip(paths, list(gradients(1)[0].values())[:4], strict=True))
    how = {"name": name, "weight_decay": DECAY, "momentum": MOMENTUM, "clip": 1.0}
    groups = {"encoders/s2": ParameterGroups(("embed",), (("stages/0",), ("stages/1",)))}
    plain, layered = direction(gradient, values, **how), direction(gradient, values, groups, layer_decay=0.5, **how)
    for path, factor in zip(paths, (0.125, 0.25, 0.5, 1.0), strict=True):
        np.testing.assert_array_equal(layered[path], factor * plain[path], err_msg=path)


def test_unknown_names_are_refused():
    with pytest.raises(
        InputError, match=r"config\.optimizer\.name='lion': expected one of adamw, adam, sgd, lars, lamb"
    ):
        optimizers.make_optimizer(config(name="lion"))


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_layers_do_not_speed_up_nor_stand_still(decay):
    with pytest.raises(InputError, match=rf"layer_decay={decay}: expected above 0 and at most 1"):
        optimizers.make_optimizer(config(layer_decay=decay))


def test_layers_that_nobody_declared_have_no_rates():
    with pytest.raises(InputError, match=r"layer_decay=0\.5: the network declares no parameter_groups"):
        optimizers.make_optimizer(config(layer_decay=0.5), {})


@pytest.mark.parametrize(
    ("freeze", "groups", "says"),
    [
        ("", {}, "the network declares no parameter_groups, which say what of it is an encoder"),
        ("encoder", {"encoders/s2": ParameterGroups()}, "config.freeze='encoder' lets no encoder learn"),
    ],
)
def test_encoders_that_nobody_knows_or_that_never_learn_do_not_wait(freeze, groups, says):
    asked = ml_collections.ConfigDict({"freeze": freeze, "optimizer": {"head_warmup": "5 steps"}})
    optimizers.check_head_warmup(asked, groups, 0)
    with pytest.raises(InputError, match=f"config.optimizer.head_warmup='5 steps': {says}"):
        optimizers.check_head_warmup(asked, groups, 5)
