"""What training, evaluation, prediction and export ask of a task."""

import abc
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.spec import Vector
from lcjax.parallel import mesh as meshes
from lcjax.runs.model_card import Card

Batch = dict[str, Any]  # arrays by key
Values = dict[str, Any]  # scalars, means or sums by name
MapCounts = Callable[[jax.Array, jax.Array], Values]  # of class indices of truth (255: not scored) and prediction


class Mean(NamedTuple):
    """A mean that is not taken yet: a sum, and what it is a sum of. Both are added up over steps, then divided once.

    Attributes:
      total: the sum, such as the number of pixels that are right.
      count: what it is divided by, such as the number of labelled pixels; 0 where there is none.
    """

    total: Any
    count: Any


def of_labelled(losses: Values, labelled: jax.Array, weight: jax.Array) -> Values:
    """Returns what `Task.loss` logs of losses by labels, a `Mean` each, and the "weight" of the batch.

    A batch without a label has no loss to learn from, and is left out of the means.

    Args:
      losses: of one replica, by name.
      labelled: how many labels the whole batch has.
      weight: what they weigh together.
    """
    counted = (labelled > 0).astype(jnp.float32)
    means = {name: Mean(meshes.psum(value) * counted, counted) for name, value in losses.items()}
    return means | {"weight": weight.astype(jnp.float32)}


class Rows(NamedTuple):
    """What evaluation keeps of each example, for scores that are no function of sums: joined over batches, not added.

    Attributes:
      values: an array whose first axis is the examples, those that fill up the last batch among them; scores must not
        depend on their order.
    """

    values: Any


class Task(abc.ABC):
    """What a batch means: a task owns the network, its inputs, the loss, the evaluation sums and their scores.

    A task of your own is a subclass, named by its entry point in the group "lcjax.tasks" or by
    `--config.task=package.module:attribute`. What the rest of lcjax wants to know of it, it declares here, so that no
    code asks for its name.

    A class is made from a config and a card: `Segmentation(config, card)`. It raises InputError for values that it
    cannot work with.

    Attributes:
      can_map: whether its network gives every pixel a class: what maps are drawn with and land cover is scored by. It
        has `names` and `probabilities` then.
      can_calibrate: whether its `probabilities` takes temperatures.
      can_classify: whether its network gives a whole image classes. It has `names`, `probabilities`, `labels`
        and `single` then.
      counts_records: whether it counts each record for itself, too, so that scores have intervals. It has
        `record_sums` then, and its sums are those of segmentation: "confusion" and "ignored".
      can_embed: whether its network makes one vector of each place: what probes learn from. It has `embed` then.
      splits_batches: whether a batch may go through the network in parts (config.accumulate): false where the loss
        compares the examples of a batch.
      cuts_on_device: whether its loss cuts training tiles itself: they come whole then, and batch["corner"] says
        nothing.
      augmentations: the fields of config.augmentation that its loss follows; others are refused.
      lower_is_better: scores that are, unlike all others, the better the lower they are.
      monitor: the score that chooses the best checkpoint and stops early, where config.monitor names no other.
      score_names: of the scores that every evaluation of the validation split has, `monitor` among them: what
        config.monitor can name. Empty lets it name anything, which the first evaluation must have.
      keys: what it reads of each record: names of sensors, "label" if it learns from labels, and names of vectors. With
        "label", records without a labelled pixel are refused before the first step.
      vectors: the numbers beside the images that its network is shown, in order.
      single: of a task that can classify, whether an image has a single label.
      names: of the classes, in the order of the outputs.
      scene_note: what a person who maps scenes should be told; empty where there is nothing.
    """

    can_map: ClassVar[bool] = False
    can_calibrate: ClassVar[bool] = False
    can_classify: ClassVar[bool] = False
    counts_records: ClassVar[bool] = False
    can_embed: ClassVar[bool] = False
    splits_batches: ClassVar[bool] = True
    cuts_on_device: bool = False
    augmentations: ClassVar[tuple[str, ...]] = ()

    lower_is_better: ClassVar[tuple[str, ...]] = ()

    monitor: str
    score_names: tuple[str, ...] = ()
    keys: tuple[str, ...]
    vectors: tuple[Vector, ...] = ()
    single: bool = True
    names: tuple[str, ...] = ()
    scene_note: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What counts in its own way does not count records in that of the class above it."""
        super().__init_subclass__(**kwargs)
        if "eval_step" in vars(cls) and "record_sums" not in vars(cls):
            cls.counts_records = False

    @abc.abstractmethod
    def __init__(self, config: ConfigDict, card: Card): ...

    @classmethod
    def check_config(cls, config: ConfigDict) -> None:
        """Raises InputError for values that it cannot work with whatever the data; asked before any are opened."""
        return None

    def check(self, records: Source, where: pathlib.Path | str) -> None:
        """Raises InputError for training records that it cannot learn from; `where` is their folder or name."""
        return None

    def split_warning(self, records: Source, split: str) -> str:
        """Returns what a reader of scores on these records, of a split by name, should be told; or nothing."""
        return ""

    @abc.abstractmethod
    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the network."""

    @abc.abstractmethod
    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns the loss of a training batch, a float32 scalar, and further values to log: scalars, or a `Mean` each.

        Of a scalar the mean over steps is logged, of a `Mean` the sums over steps, divided once. One called "loss" is
        logged in place of the loss, for batches in which nothing may count: Mean(loss, 0) leaves a step out. One called
        "weight" is not logged: by it a batch counts in the mean gradient where it is one of several parts
        (config.accumulate); without it all parts count alike.

        Over replicas (lcjax/parallel/mesh.py) the losses add up to that of the batch; the further values are those of
        the whole batch on each of them.

        Args:
          model: the network in training mode.
          batch: arrays by key, as stored: integers, not yet scaled.
          keys_B: a random key for each example.
        """

    @abc.abstractmethod
    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns evaluation sums of a batch, which add up over batches, and `Rows`, which are joined.

        Only examples in batch["valid"] count.
        """

    def record_sums(self, model: nnx.Module, batch: Batch, further: MapCounts | None = None) -> Values:
        """Returns the sums of `eval_step` of each example, (B, ...): added up over the examples they are its sums.

        Only asked where `counts_records`.

        Args:
          model: the network in evaluation mode.
          batch: arrays by key.
          further: counts more of the class indices of truth and prediction (B, H, W), by other names; only given where
            `can_map`.
        """
        raise NotImplementedError(f"{type(self).__name__}.counts_records is {self.counts_records}")

    @abc.abstractmethod
    def scores(self, sums: Values) -> dict[str, float]:
        """Returns scores of the sums over a whole split, `monitor` among them; the part before a "/" groups them."""

    def details(self, sums: Values) -> dict[str, Any]:
        """Returns what metrics.json holds of the sums over a whole split beside the scores (runs/evaluations.py)."""
        return {}

    def health_warning(self, means: dict[str, float]) -> str:
        """Returns what should be warned of, given the means of what `loss` logs after the warm-up; or nothing."""
        return ""

    def probabilities(self, model: nnx.Module, batch: Batch, temperatures_M: jax.Array | None = None) -> jax.Array:
        """Returns class probabilities float32 of stored integers {sensor: (B, H, W, bands)}.

        Only asked of a network in evaluation mode: (B, H, W, classes) where `can_map`, (B, classes) where
        `can_classify`. With temperatures, which are given only where `can_calibrate`, the answer is (B, H, W, M *
        classes): those of the logits divided by the first, by the second, ..., before anything is blended
        (ops.reliability.softmax_at).
        """
        raise NotImplementedError(f"{type(self).__name__}.can_map is {self.can_map}")

    def labels(self, labels_BxHxW: jax.Array) -> jax.Array:
        """Returns the labels of whole images, (B, classes) uint8, 1 or 0, of legend ids; all 255 where there are none.

        Only asked where `can_classify`.
        """
        raise NotImplementedError(f"{type(self).__name__}.can_classify is {self.can_classify}")

    def embed(self, model: nnx.Module, batch: Batch) -> jax.Array:
        """Returns vectors (B, C) float32 of stored integers {sensor: (B, H, W, bands)}.

        Only asked where `can_embed`, of a network in evaluation mode.
        """
        raise NotImplementedError(f"{type(self).__name__}.can_embed is {self.can_embed}")
