"""Contrastive pre-training: pull together the Sentinel-1 and the Sentinel-2 view of one place."""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.errors import InputError
from lcjax.models import registry
from lcjax.models.dual_encoder import DualEncoder
from lcjax.ops import augment, augmentation, losses
from lcjax.runs.model_card import Card
from lcjax.tasks.task import Batch, Task, Values

_COLLAPSED = -0.1  # uniformity: the mean squared distance of places is below 0.05, where 4 is the largest


class Contrastive(Task):
    """Pulls together the embeddings of one place as two sensors see it, and pushes other places away.

    Batches are {sensor: stored integers (B, H, W, bands)} of two sensors; the network is a DualEncoder. The loss is
    NT-Xent (lcjax/ops/losses/contrastive.py).
    """

    can_embed = True
    splits_batches = False
    augmentations = (*augmentation.PHOTOMETRIC, *augmentation.GEOMETRIC)
    monitor = "retrieval"
    lower_is_better = ("loss", "alignment", "uniformity")

    def __init__(self, config: ConfigDict, card: Card):
        if len(card.sensors) != 2:
            raise InputError(f"config.fusion={config.fusion!r}: the contrastive task needs two sensors: fusion='late'")
        if config.freeze:
            raise InputError(f"config.freeze={config.freeze!r}: the contrastive task trains all of its network")
        if config.metadata:
            raise InputError(f"config.metadata={config.metadata!r}: the contrastive task takes images alone")
        if config.resize:
            raise InputError(f"config.resize={config.resize}: the contrastive task takes crops, not whole tiles; set 0")
        for key in ("batch_size", "evaluation_batch_size"):
            if config[key] < 2:
                raise InputError(f"config.{key}={config[key]}: the contrastive task compares places: at least 2")
        self.config = config
        self.card = card
        self.keys = tuple(sensor.name for sensor in card.sensors)
        self.score_names = ("retrieval", *self.lower_is_better, *self._directions)

    @property
    def _directions(self) -> tuple[str, str]:
        first, second = self.keys
        return f"retrieval/{first} to {second}", f"retrieval/{second} to {first}"

    def check(self, records: Source, where: pathlib.Path | str) -> None:
        """Raises InputError for fewer records than a batch takes."""
        if self.config.batch_size > len(records):
            raise InputError(
                f"config.batch_size={self.config.batch_size}: {self.config.split.train!r} holds {len(records)} places, "
                f"and a place twice in a batch would be its own negative; take at most {len(records)}"
            )

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return registry.dual_encoder(
            self.config.model,
            channels={sensor.name: len(sensor.bands) for sensor in self.card.sensors},
            projection=self.config.projection,
            precision=self.config.precision,
            remat=self.config.remat,
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns NT-Xent over the global batch, and retrieval, alignment and uniformity in it."""
        images = {key: batch[key] for key in self.keys}
        floats, _ = augmentation.augmented(images, batch["corner"], keys_B, self.card.sensors, self.config)
        first, second = model(floats, keys_B).values()
        loss, sums = losses.nt_xent(first, second, self.config.temperature)
        measures = self._measures(sums, jnp.log)
        return loss, {key: value for key, value in measures.items() if "/" not in key}

    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns evaluation sums of the middle of each tile; retrieval is among the places of one batch."""
        cut = augment.centre_crop({key: batch[key] for key in self.keys}, crop=self.config.crop)
        first, second = model(self._inputs(cut)).values()
        return losses.nt_xent(first, second, self.config.temperature, batch["valid"])[1]

    def embed(self, model: nnx.Module, batch: Batch) -> jax.Array:
        """Returns the pooled features of whole images, before the projections: (B, C) float32, sensor by sensor."""
        assert isinstance(model, DualEncoder)
        return jnp.concatenate(list(model.pooled(self._inputs(batch)).values()), axis=-1)

    def scores(self, sums: Values) -> dict[str, float]:
        """Returns the mean loss, retrieval, alignment and uniformity.

        Retrieval is the share of embeddings whose nearest one in the other view is of their own place; also by
        direction.
        """
        measures = {key: float(value) for key, value in self._measures(sums, math.log).items()}
        return {"loss": float(sums["loss_sum"] / sums["anchors"])} | measures

    def health_warning(self, means: dict[str, float]) -> str:
        """Returns a warning where the embeddings have collapsed: all places lie at nearly one point."""
        if means["uniformity"] < _COLLAPSED:
            return ""
        return (
            f"the embeddings of all places are nearly the same (uniformity {means['uniformity']:.3f}, 0 is one point): "
            "they have collapsed; start again with a longer config.optimizer.warmup or a lower learning_rate"
        )

    def _measures(self, sums: Values, log: Callable[[Any], Any]) -> Values:
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

    def _inputs(self, batch: Batch) -> dict[str, jax.Array]:
        return {sensor.name: augment.scale(batch[sensor.name], sensor.scaling) for sensor in self.card.sensors}
