"""Land-cover classification of whole patches, with one label or several (Scheibenreif et al. 2022)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.models import registry
from lcjax.ops import augment, augmentation, losses, patch_labels, patch_losses, patch_scores
from lcjax.parallel import mesh as meshes
from lcjax.runs.model_card import Card
from lcjax.tasks import class_weights
from lcjax.tasks.fusion import inputs_of
from lcjax.tasks.task import Batch, Mean, Rows, Task, Values, of_labelled

# What of a config is of pixels or of decoders, what it is where nothing is asked, and why a patch has none of it.
_OF_PIXELS: dict[str, tuple[Any, str]] = {
    "metadata": (False, "takes images alone"),
    "resize": (0, "takes crops in training and whole tiles otherwise"),
    "window": (0, "gives a whole tile one answer"),
}
_OF_DECODERS: dict[str, tuple[Any, str]] = {
    "head": (False, "has a head of its own, for whole patches"),
    "decoder": ("", "has no decoder"),
}


class Classification(Task):
    """Batches {sensor: stored integers (B, H, W, bands), "label": legend ids (B, H, W)} and a Classifier.

    The labels of a patch follow from those of its pixels (ops/patch_labels.py), on the device, after cropping and
    mixing: in training they are of the crop that the network is shown, otherwise of the whole tile.
    """

    can_classify = True
    augmentations = (*augmentation.PHOTOMETRIC, *augmentation.GEOMETRIC, *augmentation.MIXING)

    def __init__(self, config: ConfigDict, card: Card):
        for of, fields in ((config, _OF_PIXELS), (config.weights, _OF_DECODERS)):
            for key, (silent, why) in fields.items():
                if of[key] != silent:
                    name = f"weights.{key}" if of is config.weights else key
                    raise InputError(f"config.{name}={of[key]!r}: the classification task {why}; set it to {silent!r}")
        steps = config.least_share * patch_labels.STEPS
        if round(steps) < 1 or not np.isclose(steps, round(steps)):
            raise InputError(
                f"config.least_share={config.least_share}: expected 0.001 or more, with at most three decimals, as 0.1"
            )
        if card.tile**2 >= patch_labels.MOST_PIXELS:
            raise InputError(
                f"{card.dataset}: tiles of {card.tile} px; the classification task takes at most "
                f"{int(patch_labels.MOST_PIXELS**0.5)}; prepare smaller ones"
            )
        self.config = config
        self.card = card
        self.single = config.labels == "single"
        self.names = tuple(land_class.name for land_class in card.legend.scored)
        self.keys = (*(sensor.name for sensor in card.sensors), "label")
        self.monitor = f"F1_macro_{len(self.names)}"
        self.score_names = patch_scores.score_names(len(self.names), single=self.single)
        self.weights = class_weights.of_run(config, card)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return registry.classifier(
            self.config.model,
            streams=inputs_of(self.card.fusion, self.card.sensors),
            classes=len(self.names),
            precision=self.config.precision,
            remat=self.config.remat,
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns the cross-entropy of an augmented batch, binary for several labels, and a score to log.

        That is the share of labelled patches that are right, "OA", or for several labels "F1_micro".
        """
        images = {key: batch[key] for key in self.keys}
        floats, drawn = augmentation.augmented(images, batch["corner"], keys_B, self.card.sensors, self.config)
        assert drawn is not None
        logits, counts = model(floats, keys_B), self._counts(drawn)
        weights = None if self.weights is None else jnp.asarray(self.weights)
        return self._single(logits, counts, weights) if self.single else self._multi(logits, counts, weights)

    def _single(self, logits: jax.Array, counts: jax.Array, weights: jax.Array | None) -> tuple[jax.Array, Values]:
        labels_B = patch_labels.most_frequent(counts)
        loss = losses.cross_entropy(logits, labels_B, weights)
        valid = labels_B != IGNORE
        right, labelled = meshes.psum((jnp.sum((jnp.argmax(logits, axis=-1) == labels_B) & valid), jnp.sum(valid)))
        weight = labelled if weights is None else meshes.psum(losses.total_weight(labels_B, weights))
        return loss, {"OA": Mean(right, labelled)} | of_labelled({"loss": loss}, labelled, weight)

    def _multi(self, logits: jax.Array, counts: jax.Array, weights: jax.Array | None) -> tuple[jax.Array, Values]:
        labels_BxK = patch_labels.covering(counts, self.config.least_share)
        loss = patch_losses.binary_cross_entropy(logits, labels_BxK, weights)
        valid, true, given = labels_BxK != IGNORE, labels_BxK == 1, logits > 0
        hits, both, labelled = meshes.psum(
            (jnp.sum(true & given), jnp.sum(true) + jnp.sum(given & valid), jnp.sum(valid[:, 0]))
        )
        return loss, {"F1_micro": Mean(2 * hits, both)} | of_labelled({"loss": loss}, labelled, labelled)

    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns the probabilities and labels of whole tiles, and how many tiles there are."""
        labels = jnp.where(batch["valid"][:, None, None], batch["label"], np.uint8(IGNORE))
        return {
            "probabilities": Rows(self.probabilities(model, batch)),
            "labels": Rows(self.labels(labels)),
            "patches": jnp.sum(batch["valid"]),
        }

    def scores(self, sums: Values) -> dict[str, float]:
        """Returns the scores of docs/classification.md of all labelled patches."""
        return self._scored(sums)[0]

    def details(self, sums: Values) -> dict[str, Any]:
        """Returns class set, numbers of patches, and the confusion matrix of patches, or counts by class."""
        probabilities, truth = self.labelled(sums)
        given = patch_scores.given(probabilities, single=self.single)
        counts, legend = patch_scores.counted(truth, given), self.card.legend
        table = {"hits": counts.hits, "wrong": counts.wrong, "missed": counts.missed}
        return {
            "labels": self.config.labels,
            "class_set": list(self.names),
            "class_ids": [land_class.id for land_class in legend.scored],
            "absent": self._scored(sums)[1],
            "ignored_ids": list(legend.ignored),
            "patches": len(truth),
            "ignored_patches": int(sums["patches"]) - len(truth),
            "patch_counts": {name: values.tolist() for name, values in table.items()},
        } | (
            {"patch_confusion": patch_scores.confusion(truth, given).tolist()}
            if self.single
            else {"least_share": float(self.config.least_share)}
        )

    def _scored(self, sums: Values) -> tuple[dict[str, float], list[str]]:
        return patch_scores.scores(*self.labelled(sums), self.names, single=self.single)

    def labelled(self, sums: Values) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities (N, K) and labels (N, K) bool of the patches that have labels."""
        probabilities, labels = sums["probabilities"].values, sums["labels"].values
        valid = labels[:, 0] != IGNORE
        return probabilities[valid], labels[valid] == 1

    def probabilities(self, model: nnx.Module, batch: Batch, temperatures_M: jax.Array | None = None) -> jax.Array:
        """Returns class probabilities (B, classes) float32 of whole images; of several labels each by itself."""
        assert temperatures_M is None, "not calibrated"
        logits = model({sensor.name: augment.scale(batch[sensor.name], sensor.scaling) for sensor in self.card.sensors})
        return jax.nn.softmax(logits, axis=-1) if self.single else jax.nn.sigmoid(logits)

    def labels(self, labels_BxHxW: jax.Array) -> jax.Array:
        """Returns the labels of patches, (B, classes) uint8, of legend ids: 1 or 0; IGNORE where no pixel has one."""
        counts = self._counts(labels_BxHxW)
        if self.single:
            return patch_labels.table(patch_labels.most_frequent(counts), len(self.names))
        return patch_labels.covering(counts, self.config.least_share)

    def _counts(self, labels_BxHxW: jax.Array) -> jax.Array:
        """Pixels of each class in each patch, of legend ids."""
        indices = jnp.asarray(self.card.legend.index_of_id())[labels_BxHxW.astype(jnp.int32)]
        return patch_labels.class_counts(indices, len(self.names))
