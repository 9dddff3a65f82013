"""Masked reconstruction: hide most of an image, and learn to imagine it from the rest (Xie et al. 2022)."""

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.schema.errors import InputError
from lcjax.models import registry
from lcjax.models.pretraining import MaskedAutoencoder
from lcjax.ops import augment, augmentation, losses
from lcjax.runs.model_card import Card
from lcjax.tasks import fusion as fusions
from lcjax.tasks.task import Batch, Mean, Task, Values

_DRAW = 202  # of what is hidden: folded into the keys of examples, as no other draw is


class Masked(Task):
    """Imagines hidden squares of an image from the rest of it; the loss is their mean absolute error.

    Batches are {sensor: stored integers (B, H, W, bands)}; the network is a MaskedAutoencoder of one encoder.
    """

    can_embed = True
    augmentations = (*augmentation.PHOTOMETRIC, *augmentation.GEOMETRIC)
    monitor = "skill"
    lower_is_better = ("loss",)
    score_names = ("skill", "loss")

    def __init__(self, config: ConfigDict, card: Card):
        streams = fusions.inputs_of(card.fusion, card.sensors)
        (self._name, self._stream), *others = streams.items()
        if others or self._stream.adapter:
            raise InputError(
                f"config.fusion={card.fusion!r}: the {config.task} task has one encoder, and this fusion has "
                f"{', '.join(streams)}; name one sensor, or early"
            )
        for field in ("freeze", "metadata", "resize"):
            if config[field]:
                raise InputError(
                    f"config.{field}={config[field]!r}: the {config.task} task cannot use it; leave it out"
                )
        self.config, self.card = config, card
        self.keys = tuple(sensor.name for sensor in card.sensors)
        if not config.crop:
            raise InputError(
                f"config.crop=0: the {config.task} task hides squares of a crop; set its size, such as 224"
            )
        self._squares, rest = divmod(config.crop, config.masked.square)
        self._count = round(config.masked.share * self._squares**2)
        if rest or not 0 < self._count < self._squares**2:
            raise InputError(
                f"config.masked.square={config.masked.square}, share={config.masked.share}: expected squares that fill "
                f"{config.crop} px (config.crop) and a share that hides some of them, and not all"
            )

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return registry.masked_autoencoder(
            self.config.model,
            streams={self._name: self._stream},
            precision=self.config.precision,
            remat=self.config.remat,
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns the mean absolute error of what is hidden, and the skill: see `scores`."""
        assert isinstance(model, MaskedAutoencoder)
        images = {key: batch[key] for key in self.keys}
        floats, _ = augmentation.augmented(images, batch["corner"], keys_B, self.card.sensors, self.config)
        image, hidden = self._stream.of(floats), self.hidden(keys_B)
        loss, sums = losses.masked_l1(model(image, hidden, keys_B), image, hidden)
        better = sums["reference_sum"] - sums["error_sum"]
        return loss, {"skill": Mean(better, sums["reference_sum"]), "weight": sums["numbers"]}

    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns evaluation sums of the middle of each tile; what is hidden follows from the place in the batch."""
        assert isinstance(model, MaskedAutoencoder)
        cut = augment.centre_crop({key: batch[key] for key in self.keys}, crop=self.config.crop)
        hidden = self.hidden(augment.evaluation_keys(self.config.seed, len(batch["valid"])))
        image = self._image(cut)
        return losses.masked_l1(model(image, hidden), image, hidden, batch["valid"])[1]

    def embed(self, model: nnx.Module, batch: Batch) -> jax.Array:
        """Returns the pooled features of whole images, nothing hidden: (B, C) float32."""
        assert isinstance(model, MaskedAutoencoder)
        return model.pooled(self._image(batch))

    def scores(self, sums: Values) -> dict[str, float]:
        """Returns the loss, and the skill: the share of the error of a reference that the network does without.

        The reference answers with the mean of what is shown of an image. 0 is as good as that, 1 without error.
        """
        reference = float(sums["reference_sum"])
        return {
            "loss": float(sums["error_sum"] / sums["numbers"]),
            "skill": 1 - float(sums["error_sum"]) / reference if reference else 0.0,
        }

    def hidden(self, keys_B: jax.Array) -> jax.Array:
        """Returns which pixels are hidden, (B, H, W) bool: as many squares of each image, drawn from its key."""

        def one(key: jax.Array) -> jax.Array:
            drawn = jax.random.uniform(jax.random.fold_in(key, _DRAW), (self._squares**2,))
            chosen: jax.Array = jnp.argsort(jnp.argsort(drawn)) < self._count
            return chosen

        side = self.config.masked.square
        squares = jax.vmap(one)(keys_B).reshape(-1, self._squares, self._squares)
        hidden_BxHxW: jax.Array = squares.repeat(side, axis=1).repeat(side, axis=2)
        return hidden_BxHxW

    def _image(self, images: Batch) -> jax.Array:
        return self._stream.of({one.name: augment.scale(images[one.name], one.scaling) for one in self.card.sensors})
