"""A first layer for some bands, made of one that learned from others: by a rule that is said."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.band_selection import spectral
from data_pipelines.schema.errors import InputError

RULES = ("auto", "name", "order", "mean", "repeat", "random")  # values of config.weights.bands


@dataclasses.dataclass(frozen=True)
class FirstLayer:
    """A kernel for the bands of this network.

    Attributes:
      kernel: (rows, columns, bands, outputs).
      rule: that was applied, of `RULES`.
      told: what became of each band, for a table.
      same: whether it is the origin's kernel, untouched.
    """

    kernel: np.ndarray
    rule: str
    told: str
    same: bool


def fitted(
    theirs: np.ndarray, their_bands: Sequence[str], initial: np.ndarray, bands: Sequence[str], rule: str
) -> FirstLayer:
    """The first layer of a network of these bands.

    By "name" a band that the origin knows takes its slice, several of one name share it, and the others begin at 0: the
    network starts as the origin on the bands that both know. By "order" the first band takes the first slice, and so
    on. By "mean" each takes the mean of all slices, by "repeat" one slice after the other, both times (their bands /
    bands), so that an image whose bands are alike gives what it gave. "random" keeps `initial`. "auto" is name where
    any name is known, else order where there are as many, else mean.

    Args:
      theirs: (rows, columns, their bands, outputs).
      their_bands: their names; empty where nobody knows them.
      initial: (rows, columns, bands, outputs).
      bands: names here.
      rule: of `RULES`.

    Raises:
      InputError: an unknown rule, or one that these bands do not allow.
    """
    own, known = [spectral(band) for band in bands], [spectral(band) for band in their_bands]
    if rule not in RULES:
        raise InputError(f"config.weights.bands={rule!r}: expected one of {', '.join(RULES)}")
    if rule == "auto":
        rule = "name" if set(own) & set(known) else "order" if theirs.shape[2] == len(own) else "mean"
    many = theirs.shape[2]
    if rule == "random":
        return FirstLayer(initial, rule, "keeps its random values", False)
    if rule == "name":
        if not set(own) & set(known):
            found = ", ".join(their_bands) or f"{many} bands without known names"
            raise InputError(
                f"config.weights.bands='name': the weights learned from {found}, and the network sees "
                f"{', '.join(bands)}; take order, mean, repeat or random"
            )
        # Bands of one name share what they both know.
        slices = [
            theirs[:, :, known.index(band)] / np.float32(own.count(band)) if band in known else 0 * theirs[:, :, 0]
            for band in own
        ]
        told = _by_name(bands, [their_bands[known.index(band)] if band in known else "" for band in own])
        return FirstLayer(np.stack(slices, axis=2), rule, told, own == known)
    if rule == "order":
        if many != len(own):
            raise InputError(
                f"config.weights.bands='order': the weights learned from {many} bands, and the network sees "
                f"{', '.join(bands)}; take name, mean, repeat or random"
            )
        return FirstLayer(theirs, rule, f"{', '.join(bands)} take the {many} slices as they stand", True)
    factor = many / len(own)
    if rule == "mean":
        mean = theirs.mean(axis=2, keepdims=True) * factor
        told = f"each of {', '.join(bands)} takes the mean of {many}, times {factor:.3g}"
        return FirstLayer(np.repeat(mean, len(own), axis=2), rule, told, False)
    turns = theirs[:, :, np.arange(len(own)) % many] * np.float32(factor)
    return FirstLayer(turns, rule, f"{', '.join(bands)} take the {many} slices in turn, times {factor:.3g}", False)


def _by_name(bands: Sequence[str], taken: Sequence[str]) -> str:
    named = [band if band == of else f"{band} from {of}" for band, of in zip(bands, taken, strict=True) if of]
    rest = [band for band, of in zip(bands, taken, strict=True) if not of]
    zero = f"; {', '.join(rest)} begin{'s' if len(rest) == 1 else ''} at 0" if rest else ""
    return f"by name: {', '.join(named)}{zero}"
