"""What all pre-training on two views of a place has in common: the network, what is measured, and what is refused."""

import abc
import math
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.errors import InputError
from lcjax.models import registry
from lcjax.models.pretraining import DualEncoder
from lcjax.ops import augmentation
from lcjax.runs.model_card import Card
from lcjax.tasks import views
from lcjax.tasks.task import Batch, Task, Values


class TwoViews(Task):
    """Learns embeddings from two views of each place (views.py); what of them is compared, a subclass says.

    Batches are {sensor: stored integers (B, H, W, bands)}; the network is a DualEncoder.

    Attributes:
      twice: what a place that is twice in a batch would do.
    """

    twice: ClassVar[str]

    can_embed = True
    splits_batches = False
    augmentations = (*augmentation.PHOTOMETRIC, *augmentation.GEOMETRIC)
    monitor = "retrieval"
    lower_is_better: ClassVar[tuple[str, ...]] = ("loss", "alignment", "uniformity")

    def __init__(self, config: ConfigDict, card: Card):
        self.views = views.of_run(config, card)
        self.cuts_on_device = self.views.cuts_on_device
        if config.freeze:
            raise InputError(f"config.freeze={config.freeze!r}: the {config.task} task trains all of its network")
        if config.metadata:
            raise InputError(f"config.metadata={config.metadata!r}: the {config.task} task takes images alone")
        if config.resize:
            raise InputError(
                f"config.resize={config.resize}: the {config.task} task takes crops, not whole tiles; set 0"
            )
        for key in ("batch_size", "evaluation_batch_size"):
            if config[key] < 2:
                raise InputError(f"config.{key}={config[key]}: the {config.task} task compares places: at least 2")
        self.config = config
        self.card = card
        self.keys = tuple(sensor.name for sensor in card.sensors)
        self.score_names = ("retrieval", *self.lower_is_better, *self._directions)

    @abc.abstractmethod
    def compare(
        self, model: DualEncoder, images: Values, keys_B: jax.Array | None = None, valid_B: jax.Array | None = None
    ) -> tuple[jax.Array, Values]:
        """Returns the loss of the views of a batch, as `Task.loss`, and the sums of `losses.nt_xent`, or more."""

    @abc.abstractmethod
    def mean_loss(self, sums: Values) -> Any:
        """Returns the loss of sums over batches."""

    @property
    def _directions(self) -> tuple[str, str]:
        first, second = self.views.encoder_of
        return f"retrieval/{first} to {second}", f"retrieval/{second} to {first}"

    def check(self, records: Source, where: pathlib.Path | str) -> None:
        """Raises InputError for fewer records than a batch takes."""
        if self.config.batch_size > len(records):
            raise InputError(
                f"config.batch_size={self.config.batch_size}: {self.config.split.train!r} holds {len(records)} places, "
                f"and a place twice in a batch would {self.twice}; take at most {len(records)}"
            )
        watching = self.card.splits.get("validation")
        if watching and watching["records"] < 2:
            raise InputError(
                f"config.split.validation={watching['spec']!r}: it holds {watching['records']} places, and one alone "
                "has no other to be told from; expected two or more, or '' to do without"
            )

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return registry.dual_encoder(
            self.config.model,
            channels=self.views.encoders,
            views=self.views.encoder_of,
            projection=self.config.projection,
            precision=self.config.precision,
            remat=self.config.remat,
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns the loss over the global batch, and retrieval, alignment and uniformity in it."""
        assert isinstance(model, DualEncoder)
        loss, sums = self.compare(model, self.views.of_training(batch, keys_B), keys_B)
        measures = self.measures(sums, jnp.log)
        return loss, {key: value for key, value in measures.items() if "/" not in key}

    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns evaluation sums of a part of each tile; retrieval is among the places of one batch."""
        assert isinstance(model, DualEncoder)
        return self.compare(model, self.views.of_evaluation(batch), valid_B=batch["valid"])[1]

    def embed(self, model: nnx.Module, batch: Batch) -> jax.Array:
        """Returns the pooled features of whole images, before the projections: (B, C) float32, encoder by encoder."""
        assert isinstance(model, DualEncoder)
        return jnp.concatenate(list(model.pooled(self.views.to_embed(batch)).values()), axis=-1)

    def scores(self, sums: Values) -> dict[str, float]:
        """Returns the mean loss, retrieval, alignment and uniformity.

        Retrieval is the share of embeddings whose nearest one in the other view is of their own place; also by
        direction.
        """
        measures = {key: float(value) for key, value in self.measures(sums, math.log).items()}
        return {"loss": float(self.mean_loss(sums))} | measures

    def measures(self, sums: Values, log: Callable[[Any], Any]) -> Values:
        """Retrieval, and alignment and uniformity as Wang and Isola 2020 define them (lower is better)."""
        first_to_second, second_to_first = self._directions
        hits, places = sums["hits"], sums["anchors"] / 2
        return {
            "retrieval": (hits[0] + hits[1]) / (2 * places),
            first_to_second: hits[0] / places,
            second_to_first: hits[1] / places,
            "alignment": sums["distance_sum"] / places,
            "uniformity": log(sums["potential_sum"] / sums["pairs"]),
        }
