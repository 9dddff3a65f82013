"""Parameters as flat dictionaries, path -> array: how they start, which are frozen, what is taken from another run.

A path is the module path and the parameter's name, joined by "/": "encoders/s2/stages/0/1/attention/qkv/kernel". One
flat language serves freezing, transfer, sharding and checkpoints.
"""

import dataclasses
import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data_pipelines.schema.errors import InputError
from lcjax.models.resample import resized_table

Flat = dict[str, jax.Array]
Host = Mapping[str, np.ndarray]  # the same in numpy

# The encoder of this name learns from scratch beside others: it takes nothing from another run and is never frozen.
OWN = "own"

# What each value of config.freeze keeps still, by path.
FROZEN = {"": re.compile(r"(?!)"), "encoder": re.compile(rf"^encoders/(?!{OWN}/)\w+/")}


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


# The first layer of an encoder of any family: all else does not know of bands.
_FIRST = re.compile(r"^(embed|stem/conv|levels/0/conv1)/(kernel|bias)$")

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

    Args:
      build: makes the network.
      freeze: which parameters stay as they are, of `FROZEN`.
      normalisation: attributes of its batch norms (lcjax.parallel.mesh.normalisation).

    Attributes:
      parameters, statistics: path -> jax.ShapeDtypeStruct.
    """

    def __init__(
        self,
        build: Callable[[nnx.Rngs], nnx.Module],
        freeze: str = "",
        normalisation: Mapping[str, int | str] | None = None,
    ):
        if freeze not in FROZEN:
            raise InputError(f"config.freeze={freeze!r}: expected one of {', '.join(map(repr, FROZEN))}")
        model = nnx.eval_shape(lambda: build(cast(nnx.Rngs, _OneKey())))
        model.train()
        self._frozen = FROZEN[freeze]
        for path, module in nnx.iter_modules(model):
            if self.is_frozen("/".join(map(str, (*path, "")))):
                # Frozen means frozen: its normalisation uses, and keeps, the statistics that it came with.
                module.eval()
            if isinstance(module, nnx.BatchNorm):
                for name, value in (normalisation or {}).items():
                    setattr(module, name, value)
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
        return self._frozen.match(path) is not None


def init_params(shapes: Mapping[str, jax.ShapeDtypeStruct], seed: int) -> dict[str, np.ndarray]:
    """Initial values by the table above, from a generator per path: the same on any machine and number of devices.

    Drawn by numpy on the host: compiling the initialisers with XLA took longer than the first training steps.
    """
    values = {}
    for path, shape in shapes.items():
        draw = next(draw for pattern, draw in _INITIAL if re.search(pattern, path))
        generator = np.random.Generator(np.random.PCG64((seed, zlib.crc32(path.encode()))))
        values[path] = draw(generator, shape.shape)
    return values


@dataclasses.dataclass(frozen=True)
class Taken:
    """What one encoder takes from the encoders of another network.

    Attributes:
      trunk: the encoder that all but the first layer is of.
      bands: for each of its own bands the slice of a first layer that it gets: (encoder, place, of how many bands);
        None keeps its initial values.
    """

    trunk: str
    bands: tuple[tuple[str, int, int] | None, ...]

    @property
    def encoders(self) -> list[str]:
        """All that anything is taken from."""
        return list(dict.fromkeys([self.trunk, *(band[0] for band in self.bands if band)]))


def transfer(values: Host, other: Host, taken: Mapping[str, Taken], origin: str) -> dict[str, np.ndarray]:
    """`values` with what the encoders in `taken` take from `other`, which `origin` names in errors.

    A first layer made of slices of several has the sum of their biases: what it answers is the sum of their answers.
    Tables of positions are interpolated where the windows, or the grid of tokens, have another size. Raises InputError
    when `other` lacks an entry, holds another shape, or holds more of the same encoder.
    """
    result = dict(values)
    for name, plan in taken.items():
        own, theirs = _encoder(values, name), {encoder: _encoder(other, encoder) for encoder in plan.encoders}
        trunk = theirs[plan.trunk]
        advice = "choose the config.fusion and config.model that the pre-training run had"
        missing = [path for path in own if path not in trunk]
        if missing:
            raise InputError(f"config.init={origin}: it holds no encoders/{plan.trunk}/{missing[0]}: {advice}")
        # A smaller network would find all that it looks for in a larger one, and be neither of them.
        over = [path for path in trunk if path not in own]
        if over:
            raise InputError(
                f"config.init={origin}: it holds encoders/{plan.trunk}/{over[0]}, which this network has not: {advice}"
            )
        for path, value in own.items():
            if _FIRST.match(path):
                layers = {encoder: flat[path] for encoder, flat in theirs.items()}
                found = _kernel_of(layers, value, plan) if value.ndim == 4 else np.sum(list(layers.values()), axis=0)
            else:
                found = _fitted(path, trunk[path], value.shape)
            if found is None or found.shape != value.shape:
                raise InputError(
                    f"config.init={origin}: encoders/{plan.trunk}/{path} has shape {trunk[path].shape}, which does not "
                    f"fit {value.shape} here: choose the config.model that the pre-training run had"
                )
            result[f"encoders/{name}/{path}"] = found
    return result


def _encoder(flat: Host, name: str) -> dict[str, np.ndarray]:
    start = f"encoders/{name}/"
    return {path.removeprefix(start): np.asarray(value) for path, value in flat.items() if path.startswith(start)}


def _kernel_of(theirs: Host, own: np.ndarray, plan: Taken) -> np.ndarray | None:
    """The kernel of a first layer from those of other encoders, by encoder; None where one of them does not fit."""
    rows, columns, inputs, outputs = own.shape
    # A UNet on patches sees (pixel, band) in this order, all others bands alone.
    pixels = inputs // len(plan.bands)
    slices = list(own.reshape(rows, columns, pixels, -1, outputs).transpose(3, 0, 1, 2, 4))
    for place, band in enumerate(plan.bands):
        if band is None:
            continue
        encoder, their_place, count = band
        kernel = theirs[encoder]
        if kernel.shape != (rows, columns, pixels * count, outputs):
            return None
        slices[place] = kernel.reshape(rows, columns, pixels, count, outputs)[:, :, :, their_place]
    return np.stack(slices, axis=3).reshape(own.shape)


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
