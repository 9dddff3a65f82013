"""Recall of objects by their size: how many connected areas of a class in the truth are found."""

import itertools
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE

FOUND = 0.5  # share of the pixels of an object that must be predicted as its class
EDGES = (10, 100, 1000)  # pixels: up to 9, 10 to 99, 100 to 999, 1,000 and more
MOST_EDGES = 32  # metrics.json holds no more


def size_edges(text: str) -> tuple[int, ...]:
    """Reads the sizes in pixels at which size classes begin, as "10,100,1000".

    Raises:
      InputError: they are none, too many, or do not ascend.
    """
    words = [word.strip() for word in text.split(",")]
    edges = tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 10)
    if len(edges) != len(words) or edges[0] < 2 or any(a >= b for a, b in itertools.pairwise(edges)):
        raise InputError(
            f"--objects={text}: expected ascending numbers of pixels at which size classes begin, from 2 on, as "
            f"{','.join(map(str, EDGES))}"
        )
    if len(edges) > MOST_EDGES:
        raise InputError(f"--objects={text}: {len(edges)} sizes; expected at most {MOST_EDGES}")
    return edges


def object_counts(labels: np.ndarray, predictions: np.ndarray, classes: int, edges: Sequence[int]) -> np.ndarray:
    """Counts the objects of a tile: areas of one class in the truth whose pixels touch along edges (4 neighbours).

    An object that reaches the edge of the tile counts as the part that lies within.

    Args:
      labels: (H, W) class indices; IGNORE where nothing is scored.
      predictions: (H, W) class indices.
      classes: number of classes.
      edges: sizes in pixels at which size classes begin, but the first.

    Returns:
      (classes, len(edges) + 1, 2) int64: objects that are found, and all, by class and size.
    """
    from scipy import ndimage  # here, because it takes long and training does without

    counts = np.zeros((classes, len(edges) + 1, 2), np.int64)
    for index in np.unique(labels[labels != IGNORE]).tolist():
        objects, number = ndimage.label(labels == index)
        sizes = np.bincount(objects.ravel(), minlength=number + 1)[1:]
        right = np.bincount(objects[predictions == index], minlength=number + 1)[1:]
        by_size = np.searchsorted(edges, sizes, side="right")
        counts[index, :, 0] = np.bincount(by_size[right >= FOUND * sizes], minlength=len(edges) + 1)
        counts[index, :, 1] = np.bincount(by_size, minlength=len(edges) + 1)
    return counts
