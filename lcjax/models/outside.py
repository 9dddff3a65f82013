"""Networks of other packages: how they are built, called, and made to look like ours."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import Images, ParameterGroups, by_sensor

# What lcjax gives; all other arguments of whatever builds a network are its numbers in config.model.
_REQUIRED = ("bands", "classes", "rngs")
_OPTIONAL = ("dtype", "remat")
_PLAIN = (bool, int, float, str, tuple, list)


class OutsideNetwork(nnx.Module):
    """A network of another package, called like ours.

    Args:
      network: its call names `keys_B`: then it takes ({sensor: (B, H, W, C)}, keys_B), a random key for each example.
        Or it takes one argument, the image (B, H, W, C) of the only sensor. Its answer is logits (B, H, W, classes).
      name: as in config.model.name.
      bands: sensor -> number of bands.
      classes: number of classes.

    Raises:
      InputError: its call takes something else, or one image where there are several sensors.
    """

    initialises_itself = True  # by its own NNX initialisers

    def __init__(self, network: nnx.Module, name: str, bands: Mapping[str, int], classes: int):
        self.network = network
        self.name = name
        self.sensors = tuple(bands)
        self.classes = classes
        self.takes_sensors = _takes_sensors(network, name)
        if not self.takes_sensors and len(bands) != 1:
            raise InputError(
                f"config.model.name={name!r}: its call takes one image, and this run has the sensors "
                f"{', '.join(bands)}; let it take (images, keys_B=None), images being {{sensor: (B, H, W, C)}}, or "
                "choose a config.fusion of one sensor"
            )

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """What the network declares as `parameter_groups`: {"stem": [...], "stages": [[...], ...]}, or nothing."""
        declared = getattr(self.network, "parameter_groups", None)
        return {} if declared is None else {"network": _groups(declared, self.name)}

    def __call__(self, inputs: Images | jax.Array, keys_B: jax.Array | None = None) -> jax.Array:
        """Logits (B, H, W, classes) float32 of images {sensor: (B, H, W, C)}, or of the image of the only sensor."""
        images = by_sensor(inputs, self.sensors)
        first = images[self.sensors[0]]
        call: Callable[..., Any] = self.network  # type: ignore[assignment]  # nnx.Module says nothing of calls
        logits = call(images, keys_B=keys_B) if self.takes_sensors else call(first)
        expected = (*first.shape[:3], self.classes)
        if getattr(logits, "shape", None) != expected:
            answer = f"shape {logits.shape}" if hasattr(logits, "shape") else type(logits).__name__
            raise InputError(
                f"config.model.name={self.name!r}: its answer to an image of shape {first.shape} is {answer}: expected "
                f"logits of shape {expected}, one for each pixel and class"
            )
        return jnp.asarray(logits, jnp.float32)


def build(
    make: Any,
    model: Mapping[str, Any],
    *,
    bands: Mapping[str, int],
    classes: int,
    dtype: DTypeLike,
    remat: bool,
    rngs: Any,
) -> OutsideNetwork:
    """Builds the network of another package.

    Args:
      make: a class or function of (bands, classes, rngs, and the numbers of config.model); it is also given `dtype`
        and `remat` if it names them.
      model: config.model: `name`, and the numbers.
      bands: sensor -> number of bands.
      classes: number of classes.
      dtype: to compute in; parameters and logits are float32.
      remat: whether the backward pass is to compute each stage again.
      rngs: where the initial values come from; what is no nnx.Rngs stands for shapes alone.

    Raises:
      InputError: `make` cannot be called so, cannot do what the config asks for, or makes something else.
    """
    name = model["name"]
    parameters = _parameters(make, name)
    asked = {"dtype": dtype, "remat": remat}
    plain = {"dtype": jnp.float32, "remat": False}
    fields = {"dtype": "config.precision", "remat": "config.remat"}
    for key in _OPTIONAL:
        if key not in parameters and asked[key] != plain[key]:
            raise InputError(
                f"{fields[key]}: {name!r} takes no {key}, so it cannot be asked for {key}="
                f"{asked[key] if key == 'remat' else jnp.dtype(dtype).name}; let it take {key}, or set "
                f"{'config.precision=f32' if key == 'dtype' else 'config.remat=False'}"
            )
    numbers = {key: value for key, value in model.items() if key != "name"}
    given: dict[str, Any] = {key: value for key, value in asked.items() if key in parameters}
    given |= {"bands": dict(bands), "classes": classes, "rngs": rngs if isinstance(rngs, nnx.Rngs) else nnx.Rngs(0)}
    try:
        inspect.Signature(list(parameters.values())).bind(**numbers, **given)
    except TypeError as error:
        raise InputError(
            f"config.model: {name!r} cannot be built with {', '.join([*numbers, *given])}: {error}; its arguments are "
            f"{', '.join(parameters)}, and must be bands, classes, rngs and the numbers of config.model"
        ) from error
    network = make(**numbers, **given)
    if not isinstance(network, nnx.Module):
        raise InputError(f"config.model.name={name!r}: made a {type(network).__name__}, expected a flax.nnx.Module")
    return OutsideNetwork(network, name, bands, classes)


def sized(make: Any, name: str, size: str) -> dict[str, Any]:
    """`config.model` of a network of another package.

    Its numbers are those of `make.sizes`, {name of a size: {argument: value}}, of which the first is usually meant; or
    else all plain values that its arguments have as defaults. Where it has no size "tiny", the first is tiny enough.

    Raises:
      InputError: an unknown size.
    """
    defaults = {
        key: parameter.default
        for key, parameter in _parameters(make, name).items()
        if key not in (*_REQUIRED, *_OPTIONAL) and isinstance(parameter.default, _PLAIN)
    }
    sizes = getattr(make, "sizes", None) or {"": {}}
    if size and size != "tiny" and size not in sizes:
        raise InputError(
            f"size={size!r}: {name} has the sizes {', '.join(filter(None, sizes)) or 'of its defaults only'}"
        )
    numbers: Mapping[str, Any] = sizes.get(size, next(iter(sizes.values())))
    return {"name": name, **defaults, **numbers}


def _parameters(make: Any, name: str) -> Mapping[str, inspect.Parameter]:
    """The arguments of what builds a network."""
    if not callable(make):
        raise InputError(
            f"config.model.name={name!r}: is a {type(make).__name__}, expected a class or function of (bands, classes, "
            "rngs, ...) that makes a flax.nnx.Module"
        )
    # The metaclass of nnx.Module takes anything; what counts is what it hands on.
    if inspect.isclass(make):
        return dict(list(inspect.signature(make.__init__).parameters.items())[1:])
    return inspect.signature(make).parameters


def _takes_sensors(network: nnx.Module, name: str) -> bool:
    """Whether the call of a network takes images by sensor, and keys."""
    if not callable(network):
        raise InputError(f"config.model.name={name!r}: the {type(network).__name__} that it makes has no __call__")
    parameters = inspect.signature(network.__call__).parameters
    if "keys_B" in parameters:
        return True
    needed = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    if len(needed) != 1:
        raise InputError(
            f"config.model.name={name!r}: its call takes ({', '.join(parameters)}); expected (images, keys_B=None), or "
            "one image"
        )
    return False


def _groups(declared: Mapping[str, Any], name: str) -> ParameterGroups:
    """Plain data as ParameterGroups."""
    keys = ("stem", "stages", "after")
    known = isinstance(declared, Mapping) and declared and set(declared) <= set(keys)
    stem, stages, after = (declared.get(key, ()) if known else () for key in keys)
    if not known or not isinstance(stages, list | tuple) or not all(map(_paths, (stem, *stages, after))):
        raise InputError(
            f"config.model.name={name!r}: its parameter_groups are {declared!r}; expected beginnings of parameter "
            'paths, e.g. {"stem": ["embed"], "stages": [["blocks/0"], ["blocks/1"]], "after": ["norm"]}'
        )
    return ParameterGroups(tuple(stem), tuple(map(tuple, stages)), tuple(after), bands=tuple(stem))


def _paths(group: Any) -> bool:
    return isinstance(group, list | tuple) and all(isinstance(path, str) and path for path in group)
