"""Draws pixels: in each stratum every set of so many pixels is as likely as any other, and none is drawn twice."""

import dataclasses

import numpy as np

from lcjax.assessment.layers import Excluded, Layers, Population

_ORDER = 256  # number of the random stream that numbers the points; those of strata are their values, 0 to 255


@dataclasses.dataclass(frozen=True)
class Pixel:
    """One drawn pixel.

    Attributes:
      row, column: in the map.
      mapped: the number that the map has there.
      stratum: the number of its stratum.
    """

    row: int
    column: int
    mapped: int
    stratum: int


def draw(
    layers: Layers,
    population: Population,
    counts: np.ndarray,
    seed: int,
    excluded: Excluded,
) -> list[Pixel]:
    """Draws a simple random sample without replacement from each stratum.

    The pixels of a stratum are numbered in the order of the map, numbers are drawn, and the strips that hold them are
    read once more. The same map, counts and seed give the same pixels in the same order.

    Args:
      layers: the map and its strata.
      population: counted from them.
      counts: (strata,) how many pixels of each.
      seed: of all random numbers.
      excluded: as it was when the population was counted.

    Returns:
      The pixels in a random order, in which those of all strata are mixed: a beginning of it is a sample, too.
    """
    chosen = [
        np.sort(np.random.default_rng([seed, part.value]).choice(part.pixels, int(count), replace=False))
        for part, count in zip(population.strata, counts, strict=True)
    ]
    before = np.cumsum(population.in_strips, axis=0) - population.in_strips
    found: list[list[Pixel]] = [[] for _ in population.strata]
    for strip in range(layers.strips):
        here = [
            numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, first + count)] - first
            for numbers, first, count in zip(chosen, before[strip], population.in_strips[strip], strict=True)
        ]
        if not any(map(len, here)):
            continue
        ids, strata = layers.drawable(strip, excluded)
        for part, numbers, of_stratum in zip(population.strata, here, found, strict=True):
            if not len(numbers):
                continue
            places = np.flatnonzero(strata == part.value)[numbers]
            rows, columns = np.divmod(places, layers.width)
            of_stratum += [
                Pixel(layers.top(strip) + row, column, int(ids[row, column]), part.value)
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            ]
    pixels = [pixel for of_stratum in found for pixel in of_stratum]  # an order that no cut into strips changes
    order = np.random.default_rng([seed, _ORDER]).permutation(len(pixels))
    return [pixels[at] for at in order]
