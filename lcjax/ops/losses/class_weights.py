"""How much a pixel of each class counts."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.errors import InputError

_HEAVIEST = 1e6


def class_weights(pixels_K: Sequence[int], power: float) -> np.ndarray:
    """Returns weights (K,) float32 of classes that have so many pixels: share of all pixels, to the power of -`power`.

    0 weighs all pixels alike, 0.5 is the inverse square root, 1 gives every class the same say. The mean over all
    pixels is 1; a class without pixels weighs nothing.
    """
    pixels = np.asarray(pixels_K, np.float64)
    share = pixels / max(pixels.sum(), 1)
    return _mean_1(np.where(pixels > 0, np.maximum(share, 1e-9) ** -power, 0.0), pixels)


def _mean_1(weights_K: np.ndarray, pixels_K: np.ndarray) -> np.ndarray:
    share = pixels_K / max(pixels_K.sum(), 1)
    return np.asarray(weights_K / max((weights_K * share).sum(), 1e-9), np.float32)


def effective_number_weights(pixels_K: Sequence[int], beta: float) -> np.ndarray:
    """Returns weights (K,) float32 of classes that have so many pixels: 1 / their effective number (Cui et al. 2019).

    The effective number of n pixels is (1 - beta^n) / (1 - beta): n while that is small beside 1 / (1 - beta), which it
    never exceeds. At 0 all classes weigh alike whatever their number; near 1 it is `class_weights` with power 1. The
    mean over all pixels is 1; a class without pixels weighs nothing.

    Raises:
      InputError: `beta` is not below 1.
    """
    if not 0 <= beta < 1:
        raise InputError(
            f"config.class_weights={beta}: expected a beta below 1, such as 0.9999, where "
            "config.class_weights_rule='effective_number'"
        )
    pixels = np.asarray(pixels_K, np.float64)
    number = -np.expm1(pixels * np.log(beta)) / (1 - beta) if beta else np.ones_like(pixels)
    return _mean_1(np.where(pixels > 0, 1 / np.where(pixels > 0, number, 1.0), 0.0), pixels)


# What config.class_weights_rule can be.
CLASS_WEIGHTS = {"power": class_weights, "effective_number": effective_number_weights}


def fixed_weights(weights: Sequence[float], pixels_K: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Returns weights (K,) float32 that were given as a list, as they are.

    Args:
      weights: one for each class.
      pixels_K: of each class in training.
      names: of the classes.

    Raises:
      InputError: they are not as many as the classes, no weights, or 0 for all that there is.
    """
    asked = f"config.class_weights_fixed={tuple(weights)!r:.80}"
    order = f"the {len(names)} scored classes in the order of the legend: {', '.join(names)}"
    if len(weights) != len(names):
        raise InputError(f"{asked}: {len(weights)} weights; expected one for each of {order}")
    if not all(type(weight) in (int, float) and 0 <= weight <= _HEAVIEST for weight in weights):
        raise InputError(f"{asked}: expected numbers from 0 to {_HEAVIEST:,.0f}, one for each of {order}")
    if not any(weight and pixels for weight, pixels in zip(weights, pixels_K, strict=True)):
        raise InputError(f"{asked}: no training pixel would count; expected a weight above 0 for one of {order}")
    return np.asarray(weights, np.float32)
