"""Parameters as flat dictionaries, path -> array: how they start, and which are frozen.

A path is the module path and the parameter's name, joined by "/": "encoders/s2/stages/0/1/attention/qkv/kernel". One
flat language serves freezing, transfer (transfer.py), sharding and checkpoints.
"""

import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import ParameterGroups, begins, layer_of
from lcjax.models.kernels import halves

Flat = dict[str, jax.Array]

FREEZES = ("", "encoder")  # values of config.freeze and config.freeze_statistics


Shape = tuple[int, ...]
# From a generator, the shape, and the fan-in of the layer's kernel; 0 where it has none.
Draw = Callable[[np.random.Generator, Shape, int], np.ndarray]


def _normal(deviation: Callable[[Shape], float]) -> Draw:
    return lambda generator, shape, fan_in: generator.standard_normal(shape, np.float32) * np.float32(deviation(shape))


def _constant(value: float) -> Draw:
    return lambda generator, shape, fan_in: np.full(shape, value, np.float32)


def _uniform(generator: np.random.Generator, shape: Shape, fan_in: int) -> np.ndarray:
    """What PyTorch draws kernels and biases of convolutions and dense layers from: within 1 / sqrt(fan-in) of 0."""
    if not fan_in:
        return np.zeros(shape, np.float32)  # the bias of a norm
    return np.float32(fan_in**-0.5) * (2 * generator.random(shape, np.float32) - 1)


def _kernel(shape: Shape) -> float:
    """Convolutions as He et al. 2015, sqrt(2 / fan-in); dense layers as in Swin."""
    return math.sqrt(2.0 / math.prod(shape[:-1])) if len(shape) == 4 else 0.02


# Initial values of our own networks by path, the first match decides.
_OURS = (
    (r"/(scale|var)$", _constant(1.0)),
    (r"/(bias|mean)$", _constant(0.0)),
    (r"^metadata/hidden/.*/kernel$", _normal(lambda shape: math.sqrt(2.0 / shape[0]))),  # He et al.: ReLUs follow
    (r"/kernel$", _normal(_kernel)),
    (r"/(bias_table|position|class_token)$", _normal(lambda shape: 0.02)),
)
# By config.initializer. Transformer encoders draw the kernels of their dense layers themselves in PyTorch, too, and the
# Swin-Unet of Cao et al. those of its decoder: all but its two convolutions.
_INITIAL = {
    "ours": _OURS,
    "pytorch": (
        (r"^encoders/.*/(qkv|out|mlp_in|mlp_out|reduction)/kernel$", _normal(lambda shape: 0.02)),
        (r"^encoders/.*/(qkv|out|mlp_in|mlp_out|reduction)/bias$", _constant(0.0)),
        (r"/(kernel|bias)$", _uniform),
        *_OURS,
    ),
    "swin_unet": ((r"/(embed|classify)/(kernel|bias)$", _uniform), *_OURS),
}
INITIALIZERS = tuple(_INITIAL)
_NAMES = ("scale", "var", "bias", "mean", "kernel", "bias_table", "position", "class_token")  # of that table


def flatten(nested: Mapping[Any, Any]) -> dict[str, Any]:
    """A nested dictionary as a flat one."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        below = flatten(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}/{path}".rstrip("/"): leaf for path, leaf in below.items()}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[Any, Any]:
    """The inverse of `flatten`; digits become the integer keys that Flax gives to lists."""
    nested: dict[Any, Any] = {}
    for path, leaf in flat.items():
        *parents, name = (int(part) if part.isdigit() else part for part in path.split("/"))
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return nested


class _OneKey:
    """Stands for nnx.Rngs where only shapes are wanted.

    nnx.Rngs counts its draws, and under a trace each count takes a time that grows with the layers before it: 8 s for
    the largest network instead of 1 s.
    """

    def __init__(self) -> None:
        self._key = jax.random.key(0)

    def params(self) -> jax.Array:
        return self._key


class Template:
    """A network split once into structure and shapes; `merge` makes it callable again inside a compiled function.

    What layers like nnx.Dropout draw from is no part of the state: it is made anew in each `merge` from a key, so that
    checkpoints hold none of it and a resumed run draws what the uninterrupted one would have drawn.

    Args:
      build: makes the network.
      freeze: which parameters stay as they are, of `FREEZES`.
      normalisation: attributes of its batch norms (lcjax.parallel.mesh.batch_norm_attributes).
      freeze_statistics: which batch norms use, and keep, the statistics that they came with, of `FREEZES`.

    Attributes:
      parameters, statistics: path -> jax.ShapeDtypeStruct.
      groups: path of each encoder that the network declares -> its stem and stages; the paths in them begin there.

    Raises:
      InputError: an unknown `freeze`, or a network that does not declare what that needs, declares what is not there,
        has no statistics to keep, or holds variables that lcjax cannot keep.
    """

    def __init__(
        self,
        build: Callable[[nnx.Rngs], nnx.Module],
        freeze: str = "",
        normalisation: Mapping[str, int | str] | None = None,
        freeze_statistics: str = "",
    ):
        asked = {"config.freeze": freeze, "config.freeze_statistics": freeze_statistics}
        for field, value in asked.items():
            if value not in FREEZES:
                raise InputError(f"{field}={value!r}: expected one of {', '.join(map(repr, FREEZES))}")
        model = nnx.eval_shape(lambda: build(cast(nnx.Rngs, _OneKey())))
        model.train()
        self._build = build
        self._frozen = freeze == "encoder"
        self._initialises_itself = getattr(model, "initialises_itself", False)
        declared = getattr(model, "parameter_groups", {})
        # An encoder by itself declares its own layers, and no encoder inside it.
        self.groups: Mapping[str, ParameterGroups] = declared if isinstance(declared, Mapping) else {}
        for field, value in asked.items():
            if value and not self.groups:
                raise InputError(
                    f"{field}={value!r}: the network declares no parameter_groups, which say what of it "
                    f"is an encoder; declare its stem and stages, or set {field}=''"
                )
        for path, module in nnx.iter_modules(model):
            name = "/".join(map(str, path))
            if self.is_frozen(name):
                # Frozen means frozen: its normalisation uses, and keeps, the statistics that it came with.
                module.eval()
            if isinstance(module, nnx.BatchNorm):
                _set_normalisation(module, name, normalisation or {})
                if freeze_statistics and layer_of(name, self.groups):
                    module.eval()
        self._train, *flat = _split(model)
        self.parameters, self.statistics, self._streams = flat
        _check_groups(self.groups, self.parameters)
        if freeze_statistics and not any(layer_of(path, self.groups) for path in self.statistics):
            raise InputError(
                f"config.freeze_statistics={freeze_statistics!r}: the encoders of this network have no batch norm, and "
                "so no statistics to keep; set config.freeze_statistics=''"
            )
        model.eval()
        self._eval = nnx.graphdef(model)

    @property
    def draws(self) -> bool:
        """Whether layers of the network draw random numbers by themselves while it trains."""
        return bool(self._streams)

    def merge(
        self,
        parameters: Flat,
        statistics: Flat,
        *,
        train: bool,
        key: jax.Array | None = None,
        implementation: str = halves.XLA,
    ) -> nnx.Module:
        """The network with these values.

        Args:
          parameters: path -> array.
          statistics: path -> array.
          train: in training mode, else in evaluation mode.
          key: what the network's own draws come from, each layer's folded with its path; needed to train a network
            that `draws`.
          implementation: of blocks that have several, one of halves.IMPLEMENTATIONS.
        """
        states = [unflatten(parameters), unflatten(statistics)]
        if self._streams:
            if train and key is None:
                raise ValueError("this network draws random numbers while it trains: merge needs a key")
            states.append(unflatten(_seeded(self._streams, jax.random.key(0) if key is None else key)))
        model: nnx.Module = nnx.merge(self._train if train else self._eval, *states)
        if implementation != halves.XLA:
            model.set_attributes(implementation=implementation, raise_if_not_found=False)
        return model

    def statistics_of(self, model: nnx.Module) -> Flat:
        """The running statistics of a network after a call in training mode."""
        return flatten(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))

    def is_frozen(self, path: str) -> bool:
        """Whether a parameter stays as it is."""
        return self._frozen and layer_of(path, self.groups) is not None

    def initial_values(
        self, seed: int, initializer: str = "ours"
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Parameters and statistics to start from: ours by `init_params`, else what the network's own layers draw.

        Raises InputError where the `initializer`, of `INITIALIZERS`, is unknown or the network does not ask for one.
        """
        if not self._initialises_itself:
            return init_params(self.parameters, seed, initializer), init_params(self.statistics, seed, initializer)
        if initializer != INITIALIZERS[0]:
            raise InputError(
                f"config.initializer={initializer!r}: this network draws its initial values itself; set "
                f"config.initializer={INITIALIZERS[0]!r}"
            )
        parameters, statistics, _ = jax.jit(lambda: _split(self._build(nnx.Rngs(seed)))[1:])()
        host: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = jax.device_get((parameters, statistics))
        return host


def _split(model: nnx.Module) -> tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Structure, parameters, running statistics, and what random numbers are drawn from, each by path."""
    structure, *states = nnx.split(model, nnx.Param, nnx.BatchStat, nnx.RngState, ...)
    parameters, statistics, streams, unknown = (flatten(nnx.to_pure_dict(state)) for state in states)
    if unknown:
        raise InputError(
            f"the network holds {', '.join(unknown)}: expected variables of nnx.Param, nnx.BatchStat and nnx.Rngs; "
            "make it one of these, or a plain attribute"
        )
    return structure, parameters, statistics, streams


def _set_normalisation(module: nnx.BatchNorm, path: str, attributes: Mapping[str, int | str]) -> None:
    """Sets attributes of a batch norm; raises InputError where it would take no notice of one."""
    for name, value in attributes.items():
        if not hasattr(module, name):
            raise InputError(
                f"config.parallel.batch_norm='replica': {path} is an nnx.BatchNorm, which normalises by the global "
                "batch; take lcjax.models.layers.BatchNorm there, or set config.parallel.batch_norm='global'"
            )
        setattr(module, name, value)


def _check_groups(groups: Mapping[str, ParameterGroups], parameters: Iterable[str]) -> None:
    """Raises InputError for groups that name what is not there, or the same twice."""
    for encoder, own in groups.items():
        prefixes = [prefix for layer in own.layers for prefix in layer]
        for number, prefix in enumerate(prefixes):
            if not any(begins(path, [f"{encoder}/{prefix}"]) for path in parameters):
                there = ", ".join(path.removeprefix(f"{encoder}/") for path in parameters if begins(path, [encoder]))
                raise InputError(f"parameter_groups: no parameter begins with {prefix!r}; there are {there}")
            if begins(prefix, prefixes[:number] + prefixes[number + 1 :]):
                raise InputError(f"parameter_groups: {prefix!r} is named twice; expected it in one group")


def _seeded(streams: Mapping[str, jax.ShapeDtypeStruct], key: jax.Array) -> Flat:
    """Keys folded from `key` and the path of each, and counts of zero."""

    def start(path: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.zeros(leaf.shape, leaf.dtype)
        own = jax.random.fold_in(key, zlib.crc32(path.encode()))
        return jax.random.split(own, leaf.shape) if leaf.shape else own

    return {path: start(path, leaf) for path, leaf in streams.items()}


def init_params(
    shapes: Mapping[str, jax.ShapeDtypeStruct], seed: int, initializer: str = "ours"
) -> dict[str, np.ndarray]:
    """Initial values by a table above, from a generator per path: the same on any machine and number of devices.

    Drawn by numpy on the host: compiling the initialisers with XLA took longer than the first training steps.

    Raises:
      InputError: there is no such table, or it has nothing for a path.
    """
    if initializer not in INITIALIZERS:
        raise InputError(f"config.initializer={initializer!r}: expected one of {', '.join(INITIALIZERS)}")
    values = {}
    for path, shape in shapes.items():
        draw = next((draw for pattern, draw in _INITIAL[initializer] if re.search(pattern, path)), None)
        if draw is None:
            raise InputError(
                f"parameter {path}: no initial value is known for it; expected a name that ends in one of "
                f"{', '.join(_NAMES)}, or a row for it in lcjax/models/params.py"
            )
        generator = np.random.Generator(np.random.PCG64((seed, zlib.crc32(path.encode()))))
        kernel = shapes.get(f"{path.rpartition('/')[0]}/kernel")
        values[path] = draw(generator, shape.shape, math.prod(kernel.shape[:-1]) if kernel else 0)
    return values


def norm(flat: Flat) -> jax.Array:
    """Euclidean norm over all entries, float32."""
    return jnp.sqrt(sum((jnp.sum(jnp.square(x.astype(jnp.float32))) for x in flat.values()), jnp.float32(0.0)))
