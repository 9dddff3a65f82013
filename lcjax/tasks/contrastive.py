"""Contrastive pre-training: pull together the Sentinel-1 and the Sentinel-2 view of one place."""

import jax
from flax import nnx

from data_pipelines.errors import InputError
from lcjax import augment, losses
from lcjax.card import Card
from lcjax.models import families


class Contrastive:
    """Batches {sensor: stored integers (B, H, W, bands)} of two sensors and a DualEncoder."""

    monitor = "retrieval"

    def __init__(self, config, card: Card):
        if len(card.sensors) != 2:
            raise InputError(f"config.fusion={config.fusion!r}: the contrastive task needs two sensors: fusion='late'")
        if config.freeze:
            raise InputError(f"config.freeze={config.freeze!r}: the contrastive task trains all of its network")
        if config.metadata:
            raise InputError(f"config.metadata={config.metadata!r}: the contrastive task takes images alone")
        self.config = config
        self.card = card
        self.keys = tuple(sensor.name for sensor in card.sensors)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return families.dual_encoder(
            self.config.model,
            channels={sensor.name: len(sensor.bands) for sensor in self.card.sensors},
            projection=self.config.projection,
            precision=self.config.precision,
            remat=self.config.remat,
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: dict, keys_B: jax.Array) -> tuple[jax.Array, dict]:
        """NT-Xent over the global batch, and the share of anchors that find their place first."""
        images = {key: batch[key] for key in self.keys}
        cut = augment.crop_and_turn(images, batch["corner"], keys_B, crop=self.config.crop, turn=self.config.turn)
        first, second = model(self._inputs(cut), keys_B).values()
        loss, sums = losses.nt_xent(first, second, self.config.temperature)
        return loss, {"retrieval": sums["hits"] / sums["anchors"]}

    def count(self, model: nnx.Module, batch: dict) -> dict:
        """Evaluation sums on the middle of each tile; retrieval is among the places of one evaluation batch."""
        cut = augment.centre_crop({key: batch[key] for key in self.keys}, crop=self.config.crop)
        first, second = model(self._inputs(cut)).values()
        return losses.nt_xent(first, second, self.config.temperature, batch["valid"])[1]

    def scores(self, sums: dict) -> dict[str, float]:
        """Mean loss, and retrieval: the share of anchors that find their place first."""
        return {
            "loss": float(sums["loss_sum"] / sums["anchors"]),
            "retrieval": float(sums["hits"] / sums["anchors"]),
        }

    def _inputs(self, batch: dict) -> dict:
        return {sensor.name: augment.scale(batch[sensor.name], sensor.scaling) for sensor in self.card.sensors}
