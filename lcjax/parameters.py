"""Parameters as flat dictionaries, path -> array: how they start, which are frozen, what is taken from another run.

A path is the module path and the parameter's name, joined by "/": "encoders/s2/stages/0/1/attention/qkv/kernel". One
flat language serves freezing, transfer, sharding and checkpoints.
"""

import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipelines.errors import InputError
from lcjax.models.resample import resized_table

Flat = dict[str, jax.Array]

# What each value of config.freeze keeps still: the module, by its attribute in the network.
FROZEN = {"": None, "encoder": "encoders"}


def _normal(deviation: Callable[[tuple[int, ...]], float]):
    return lambda generator, shape: generator.standard_normal(shape, np.float32) * np.float32(deviation(shape))


def _constant(value: float):
    return lambda generator, shape: np.full(shape, value, np.float32)


def _kernel(shape: tuple[int, ...]) -> float:
    """Convolutions as He et al. 2015, sqrt(2 / fan-in); dense layers as in Swin."""
    return math.sqrt(2.0 / math.prod(shape[:-1])) if len(shape) == 4 else 0.02


# Initial values by path, the first match decides.
_INITIAL = (
    (r"/(scale|var)$", _constant(1.0)),
    (r"/(bias|mean)$", _constant(0.0)),
    (r"^metadata/hidden/.*/kernel$", _normal(lambda shape: math.sqrt(2.0 / shape[0]))),  # He et al.: ReLUs follow
    (r"/kernel$", _normal(_kernel)),
    (r"/(bias_table|position|class_token)$", _normal(lambda shape: 0.02)),
)


# Learned tables over a square of places, after so many rows of another kind: they can be had for another square.
_TABLES = {"bias_table": 0, "position": 1}


def flatten(nested: Mapping) -> dict:
    """A nested dictionary as a flat one."""
    flat: dict = {}
    for key, value in nested.items():
        below = flatten(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{key}/{path}".rstrip("/"): leaf for path, leaf in below.items()}
    return flat


def unflatten(flat: Mapping) -> dict:
    """The inverse of `flatten`; digits become the integer keys that Flax gives to lists."""
    nested: dict = {}
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

    def __init__(self):
        self._key = jax.random.key(0)

    def params(self) -> jax.Array:
        return self._key


class Template:
    """A network split once into structure and shapes; `merge` makes it callable again inside a compiled function.

    Attributes:
      parameters, statistics: path -> jax.ShapeDtypeStruct.
    """

    def __init__(self, build: Callable[[nnx.Rngs], nnx.Module], freeze: str = ""):
        if freeze not in FROZEN:
            raise InputError(f"config.freeze={freeze!r}: expected one of {', '.join(map(repr, FROZEN))}")
        model = nnx.eval_shape(lambda: build(cast(nnx.Rngs, _OneKey())))
        model.train()
        self.frozen_module = FROZEN[freeze]
        if self.frozen_module:
            # Frozen means frozen: its normalisation uses, and keeps, the statistics that it came with.
            getattr(model, self.frozen_module).eval()
        structure, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
        self._train = structure
        model.eval()
        self._eval = nnx.graphdef(model)
        self.parameters, self.statistics = (flatten(nnx.to_pure_dict(state)) for state in states)

    def merge(self, parameters: Flat, statistics: Flat, *, train: bool) -> nnx.Module:
        """The network with these values."""
        return nnx.merge(self._train if train else self._eval, unflatten(parameters), unflatten(statistics))

    def statistics_of(self, model: nnx.Module) -> Flat:
        """The running statistics of a network after a call in training mode."""
        return flatten(nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))

    def is_frozen(self, path: str) -> bool:
        """Whether a parameter stays as it is."""
        return self.frozen_module is not None and path.startswith(self.frozen_module + "/")


def initial(shapes: Mapping[str, jax.ShapeDtypeStruct], seed: int) -> dict[str, np.ndarray]:
    """Initial values by the table above, from a generator per path: the same on any machine and number of devices.

    Drawn by numpy on the host: compiling the initialisers with XLA took longer than the first training steps.
    """
    values = {}
    for path, shape in shapes.items():
        draw = next(draw for pattern, draw in _INITIAL if re.search(pattern, path))
        generator = np.random.Generator(np.random.PCG64((seed, zlib.crc32(path.encode()))))
        values[path] = draw(generator, shape.shape)
    return values


def transfer(values: dict[str, np.ndarray], source: Mapping[str, np.ndarray], module: str, origin: str) -> dict:
    """`values` with every entry of `module` ("encoders") taken from `source`, which `origin` names in errors.

    Tables of positions are interpolated where the windows, or the grid of tokens, have another size. Raises InputError
    when the source lacks an entry, holds another shape, or holds more of the same stream.
    """
    wanted = [path for path in values if path.startswith(f"{module}/")]
    held = [path for path in source if path.startswith(f"{module}/")]
    streams = {_stream(path) for path in wanted}
    advice = "choose the config.fusion and config.model that the pre-training run had"
    missing = [path for path in wanted if path not in source]
    if missing:
        there = ", ".join(sorted(set(map(_stream, held))))
        raise InputError(f"config.init={origin}: it holds no {missing[0]}; its {module} are {there}: {advice}")
    # A smaller network would find all that it looks for in a larger one, and be neither of them.
    over = [path for path in held if _stream(path) in streams and path not in values]
    if over:
        raise InputError(f"config.init={origin}: it holds {over[0]}, which this network has not: {advice}")
    taken = dict(values)
    for path in wanted:
        taken[path] = _fitted(path, np.asarray(source[path]), values[path].shape)
        if taken[path].shape != values[path].shape:
            raise InputError(
                f"config.init={origin}: {path} has shape {taken[path].shape}, expected {tuple(values[path].shape)}: "
                "choose the config.model that the pre-training run had"
            )
    return taken


def _stream(path: str) -> str:
    return path.split("/")[1]


def _fitted(path: str, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A table of positions for as many places as `shape` has; all else, and what is no square, as it is."""
    own = _TABLES.get(path.rsplit("/", 1)[-1])
    if own is None or found.shape == shape or found.shape[1:] != shape[1:]:
        return found
    old, new = (math.isqrt(max(rows - own, 0)) for rows in (len(found), shape[0]))
    if (own + old**2, own + new**2) != (len(found), shape[0]):
        return found
    places = resized_table(jnp.asarray(found[own:]).reshape(old, old, -1), new, new).reshape(new**2, -1)
    return np.concatenate([found[:own], np.asarray(places)])


def norm(flat: Flat) -> jax.Array:
    """Euclidean norm over all entries, float32."""
    return jnp.sqrt(sum((jnp.sum(jnp.square(x.astype(jnp.float32))) for x in flat.values()), jnp.float32(0.0)))
