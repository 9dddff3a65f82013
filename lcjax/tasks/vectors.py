"""Numbers beside images, as a network is shown them: which ones a data set declares, and how they are encoded."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Vector

INPUT = "metadata"  # the network's name for them (lcjax/models/segmenter.py)


def shown(dataset: str) -> tuple[Vector, ...]:
    """Returns the vectors of a data set that a network can be shown.

    Raises:
      InputError: it declares none, or is unknown.
    """
    vectors = _encodable(declared := datasets.vectors(dataset))
    if vectors:
        return vectors
    held = ", ".join(vector.name for vector in declared) or "nothing"
    fitting = [
        f"{vector.name} ({', '.join(vector.numbers)}), which {name} holds"
        for name, spec in datasets.DATASETS.items()
        for vector in _encodable(spec.vectors)
    ]
    raise InputError(
        f"config.metadata=True: {dataset} holds {held} beside its images, needed is {' or '.join(fitting)}; set "
        "config.metadata=False"
    )


def _encodable(vectors: Sequence[Vector]) -> tuple[Vector, ...]:
    return tuple(vector for vector in vectors if vector.encode)


def encode(vectors: Sequence[Vector], batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns what a network is shown of the vectors of a batch: {INPUT: (B, N) float32}, or nothing if there are none.

    Args:
      vectors: in the order in which the network learned them; N is the sum of their widths.
      batch: among others the stored numbers of each vector, (B, len(vector.numbers)), NaN where not known.
    """
    parts = [jax.vmap(vector.encode)(batch[vector.name]) for vector in vectors if vector.encode]
    return {INPUT: jnp.concatenate(parts, axis=-1)} if parts else {}


def unknown(vectors: Sequence[Vector], count: int) -> dict[str, jax.Array]:
    """Returns the vectors of `count` records of which no number is known, as they would be stored."""
    return {vector.name: jnp.full((count, len(vector.numbers)), jnp.nan) for vector in vectors}
