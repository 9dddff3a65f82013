"""What a config says of the augmentation of training images, in one place: checked, and applied to a batch.

The pieces are beside this module: augment.py (crop, flips, speckle, jitter), geometric.py, photometric.py, mixing.py.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor
from lcjax.ops import augment, geometric, mixing
from lcjax.ops.geometric import Geometric
from lcjax.ops.photometric import Photometric

GEOMETRIC, PHOTOMETRIC = (tuple(field.name for field in dataclasses.fields(kind)) for kind in (Geometric, Photometric))
MIXING = ("cutmix",)


# What a field acts on, and how that is called; heights stay as they are.
_LIGHT, _RADAR = {"light": "light"}, {"decibels": "radar"}
_ACTS_ON = {"gamma": _LIGHT} | dict.fromkeys(
    ("group_jitter", "brightness", "contrast", "blur", "noise"), _LIGHT | _RADAR
)


def geometric_of(config: Mapping[str, Any]) -> Geometric:
    """Scale and aspect of a config."""
    fields = {name: config["augmentation"][name] for name in GEOMETRIC}
    return Geometric(**fields | {"scale": tuple(fields["scale"])})


def photometric_of(config: Mapping[str, Any]) -> Photometric:
    """What a config says of the values of pixels, but for speckle and jitter."""
    return Photometric(**{name: config["augmentation"][name] for name in PHOTOMETRIC})


def window(tile: int, config: Mapping[str, Any]) -> int:
    """Size in pixels of the square of a tile that an example is made of: what the loader draws and ships; 0 is all."""
    return geometric.window(tile, config["crop"], geometric_of(config))


def augmented(
    images: Mapping[str, jax.Array],
    corner_Bx2: jax.Array,
    keys_B: jax.Array,
    sensors: Sequence[Sensor],
    config: Mapping[str, Any],
) -> tuple[dict[str, jax.Array], jax.Array | None]:
    """Makes of stored images what the network is shown in training.

    Args:
      images: sensor name -> (B, H, W, bands), and "label" -> (B, H, W) where there are labels.
      corner_Bx2: where the loader says that the square of `window` lies in them.
      keys_B: one key per example.
      sensors: of the network.
      config: `crop`, `dihedral`, `speckle`, `jitter` and `augmentation` of a run.

    Returns:
      Sensor name -> (B, h, w, bands) float32, scaled; and the labels (B, h, w), None where there are none.
    """
    crop, how = config["crop"], geometric_of(config)
    if how.moves:
        nodata = {sensor.name: sensor.zero_is_nodata for sensor in sensors}
        images = geometric.rescale(images, corner_Bx2, keys_B, crop=crop, how=how, zero_is_nodata=nodata)
        crop, corner_Bx2 = 0, jnp.zeros_like(corner_Bx2)
    cut = augment.crop_and_dihedral(images, corner_Bx2, keys_B, crop=crop, flip=config["dihedral"])
    floats = augment.perturb(cut, sensors, keys_B, config["speckle"], config["jitter"], photometric_of(config))
    labels = cut.get("label")
    if config["augmentation"]["cutmix"] and labels is not None:
        return mixing.cutmix(floats, labels, keys_B, config["augmentation"]["cutmix"])
    return floats, labels


def check(config: Mapping[str, Any], sensors: Sequence[Sensor], tile: int, taken: Sequence[str]) -> str:
    """Checks that augmentation goes together with the data, the task and the rest of the config.

    Args:
      config: of a run; each field by itself has been checked.
      sensors: of the network.
      tile: size in pixels of the tiles.
      taken: the fields of `config.augmentation` that the task knows.

    Returns:
      What whoever starts the run must be told; empty where there is nothing.

    Raises:
      InputError: something is asked for that the task or the data cannot take.
    """
    augment.check_perturbation(sensors, config["speckle"], config["jitter"])
    how = config["augmentation"]
    off = {field.name: field.default for kind in (Geometric, Photometric) for field in dataclasses.fields(kind)}
    off |= dict.fromkeys(MIXING, 0.0)
    for name in [name for name, nothing in off.items() if _plain(how[name]) != nothing and name not in taken]:
        known = f"takes {', '.join(taken)} alone" if taken else "takes no field of config.augmentation"
        raise InputError(
            f"config.augmentation.{name}={how[name]}: the {config['task']} task {known}; set it to {off[name]}"
        )
    _check_bands(how, sensors)
    if how["cutmix"] and (config["accumulate"] > 1 or config["batch_size"] < 2):
        field, wanted = ("accumulate", "1") if config["accumulate"] > 1 else ("batch_size", "2 or more")
        raise InputError(
            f"config.augmentation.cutmix={how['cutmix']}: takes boxes from the example before in the whole batch, and "
            f"config.{field}={config[field]}; expected {wanted}, or cutmix=0"
        )
    return _limits(config, tile)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _check_bands(how: Mapping[str, Any], sensors: Sequence[Sensor]) -> None:
    """Raises InputError for what acts on no band of any sensor."""
    held = ", ".join(f"{sensor.name} ({', '.join(sensor.bands)})" for sensor in sensors)
    seen = {quantity for sensor in sensors for quantity in sensor.quantities}
    for name, kinds in _ACTS_ON.items():
        if how[name] and not seen & kinds.keys():
            raise InputError(
                f"config.augmentation.{name}={how[name]}: the network sees no {' and no '.join(kinds.values())} but "
                f"{held}; set it to 0"
            )
    if how["drop_bands"] and all(len(sensor.bands) == 1 for sensor in sensors):
        raise InputError(
            f"config.augmentation.drop_bands={how['drop_bands']}: the network sees one band of each sensor, {held}, "
            "and never loses all; set it to 0"
        )


def _limits(config: Mapping[str, Any], tile: int) -> str:
    """What tiles are too small for. Raises InputError where they are too small for any of it."""
    how, crop = geometric_of(config), config["crop"] or tile
    least = math.ceil(1000 * geometric.least_scale(tile, crop, how)) / 1000  # rounded up: it is what one may ask for
    if how.moves and least > how.scale[1]:
        raise InputError(
            f"config.augmentation.scale={how.scale}: the tiles of {tile} px hold no crop of {crop} px that is made "
            f"smaller by {how.scale[1]:g}; take a largest scale of {least:g} or more, or a smaller config.crop"
        )
    needed = geometric.needed(crop, how)
    if not how.moves or needed <= tile:
        return ""
    return (
        f"config.augmentation: scale={how.scale} and aspect={how.aspect:g} need {needed} px of a tile for a crop of "
        f"{crop} px, and the tiles have {tile}: scale is drawn from {least:g} to {how.scale[1]:g}, and the aspect is "
        "less where it does not fit; a smaller config.crop leaves more room"
    )
