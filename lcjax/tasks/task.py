"""What training, evaluation and prediction ask of a task."""

import pathlib
from typing import Protocol, runtime_checkable

import jax
from flax import nnx


class Records(Protocol):
    """What a task may ask of stored records: a prepared.Source, which prediction does without."""

    def __len__(self) -> int: ...

    def has_numbers(self, vector: str) -> bool:
        """Whether any number of a vector is known of them."""
        ...


class Task(Protocol):
    """What a batch means: a task owns the network, its inputs, the loss, the evaluation sums and their scores.

    Attributes:
      keys: what it reads of each record: names of sensors, "label" if it learns from labels, and of vectors.
      monitor: the score that chooses the best checkpoint and stops early; higher is better.
    """

    @property
    def keys(self) -> tuple[str, ...]: ...

    @property
    def monitor(self) -> str: ...

    def check(self, records: Records, folder: pathlib.Path | str) -> None:
        """Raises InputError for training records that it cannot learn from; `folder` is where their data set lies."""
        ...

    def split_warning(self, records: Records, split: str) -> str:
        """What a reader of scores on these records, of a split by name, should be told; or nothing."""
        ...

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        ...

    def loss(self, model: nnx.Module, batch: dict, keys_B: jax.Array) -> tuple[jax.Array, dict]:
        """The loss of a training batch, a float32 scalar, and further scalars to log.

        Of a replica's examples (lcjax/parallel/mesh.py) the losses add up to that of the batch; the further scalars
        are of the whole batch on each.

        Args:
          model: the network in training mode.
          batch: arrays by key, as stored: integers, not yet scaled.
          keys_B: a random key for each example.
        """
        ...

    def eval_step(self, model: nnx.Module, batch: dict) -> dict:
        """Evaluation sums of a batch, which add up over batches; only examples that are batch["valid"] count."""
        ...

    def scores(self, sums: dict) -> dict[str, float]:
        """Scores of the sums over a whole split, `monitor` among them; the part before a "/" groups them."""
        ...

    def health_warning(self, means: dict[str, float]) -> str:
        """What the trainer should be warned of, by the means of what `loss` logs after the warm-up; or nothing."""
        ...


@runtime_checkable
class EmbeddingTask(Task, Protocol):
    """A task whose network makes one vector of each place: what probes can learn from (lcjax/training/probes.py)."""

    def embed(self, model: nnx.Module, batch: dict) -> jax.Array:
        """Vectors (B, C) float32 of stored integers {sensor: (B, H, W, bands)}, of a network in evaluation mode."""
        ...


@runtime_checkable
class PixelTask(Task, Protocol):
    """A task whose network gives every pixel a class: what maps can be drawn with.

    Attributes:
      names: of the classes, in the order of the outputs.
      scene_note: what whoever maps scenes should be told, or nothing.
    """

    @property
    def names(self) -> list[str]: ...

    @property
    def scene_note(self) -> str: ...

    def probabilities(self, model: nnx.Module, batch: dict) -> jax.Array:
        """Class probabilities (B, H, W, classes) float32 of stored integers {sensor: (B, H, W, bands)}."""
        ...
