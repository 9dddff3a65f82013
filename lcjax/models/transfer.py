"""What a network takes from the encoders of another run, by path and by band."""

import dataclasses
import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import ParameterGroups, begins
from lcjax.models.resample import resized_table

Host = Mapping[str, np.ndarray]  # parameters by path, as numpy arrays

# Learned tables over a square of places, after so many rows of another kind: they can be had for another square.
_TABLES = {"bias_table": 0, "position": 1}


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


def transfer(
    values: Host, other: Host, taken: Mapping[str, Taken], groups: Mapping[str, ParameterGroups], origin: str
) -> dict[str, np.ndarray]:
    """Returns `values` with what the encoders in `taken` take from `other`, whose encoders have these `groups`.

    A first layer made of slices of several has the sum of their biases: what it answers is the sum of their answers.
    Tables of positions are interpolated where the windows, or the grid of tokens, have another size.

    Args:
      values: initial parameters, or statistics, of this network.
      other: those of the other run.
      taken: name of each encoder that takes anything -> what.
      groups: of the other network (Template.groups), which say what of an encoder knows of bands.
      origin: where the other run lies, for messages.

    Raises:
      InputError: the other network has no such encoder, or `other` lacks an entry of it, holds another shape, or holds
        more of it.
    """
    result = dict(values)
    for name, plan in taken.items():
        own, theirs = _encoder(values, name), {encoder: _encoder(other, encoder) for encoder in plan.encoders}
        trunk = theirs[plan.trunk]
        advice = "choose the config.fusion and config.model that the pre-training run had"
        if f"encoders/{plan.trunk}" not in groups:
            raise InputError(
                f"config.init={origin}: its network has no encoders/{plan.trunk}; expected one of ours, with an "
                "encoder for each sensor; set config.init=random"
            )
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
            if begins(path, groups[f"encoders/{plan.trunk}"].bands):
                layers = {encoder: flat[path] for encoder, flat in theirs.items()}
                found = _kernel_of(layers, value, plan) if value.ndim == 4 else np.sum(list(layers.values()), axis=0)
            else:
                found = resized_places(path, trunk[path], value.shape)
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


def resized_places(path: str, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A table of positions for as many places as `shape` has; all else, and what is no square, as it is."""
    own = _TABLES.get(path.rsplit("/", 1)[-1])
    if own is None or found.shape == shape or found.shape[1:] != shape[1:]:
        return found
    old, new = (math.isqrt(max(rows - own, 0)) for rows in (len(found), shape[0]))
    if (own + old**2, own + new**2) != (len(found), shape[0]):
        return found
    places = resized_table(jnp.asarray(found[own:]).reshape(old, old, -1), new, new).reshape(new**2, -1)
    return np.concatenate([found[:own], np.asarray(places)])
