"""Land-cover segmentation: a class for every pixel, from one sensor or two."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.reading.interfaces import Source
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.models import registry
from lcjax.models.resample import resize
from lcjax.ops import augment, augmentation, losses, metrics, reliability
from lcjax.ops.tiling import blended_windows
from lcjax.parallel import mesh as meshes
from lcjax.runs.model_card import Card
from lcjax.tasks import class_weights, vectors
from lcjax.tasks.fusion import inputs_of
from lcjax.tasks.task import Batch, MapCounts, Mean, Task, Values, of_labelled


class Segmentation(Task):
    """Batches {sensor: stored integers (B, H, W, bands), "label": legend ids (B, H, W)} and a Segmenter.

    With `config.metadata` also the vectors that the data set declares, by name: the stored numbers (B, numbers), NaN
    where not known.
    """

    can_map = True
    can_calibrate = True
    counts_records = True
    augmentations = (*augmentation.PHOTOMETRIC, *augmentation.GEOMETRIC, *augmentation.MIXING)

    def __init__(self, config: ConfigDict, card: Card):
        self.config = config
        self.card = card
        self.names = tuple(land_class.name for land_class in card.legend.scored)
        self._loss = losses.pixel_loss(config.loss)
        self._images = (*(sensor.name for sensor in card.sensors), "label")
        if config.metadata:
            self.vectors = vectors.shown(config.dataset)
            self.scene_note = (
                f"this network learned from {self._vector_names}, too ({', '.join(v.title for v in self.vectors)}); "
                "of a scene it is told none, which it saw in one example of ten"
            )
        self.keys = (*self._images, *(vector.name for vector in self.vectors))
        self.monitor = f"mIoU_{len(self.names)}"
        validated = class_weights.pixels(card, "validation" if "validation" in card.splits else "train")
        # Of smaller images any class may be gone.
        there = [name for name, pixels in zip(self.names, validated, strict=True) if pixels and not config.resize]
        self.score_names = metrics.score_names(len(self.names), there)
        if config.resize and (config.crop or config.window):
            raise InputError(
                f"config.resize={config.resize}: makes whole tiles smaller, so config.crop={config.crop} and "
                f"config.window={config.window} must be 0"
            )
        if config.resize not in range(card.tile + 1):
            raise InputError(f"config.resize={config.resize}: expected at most the {card.tile} px of a tile, or 0")
        self.weights = class_weights.of_run(config, card)

    @classmethod
    def check_config(cls, config: ConfigDict) -> None:
        """Raises InputError for what is no loss, and for one that a batch in parts cannot have."""
        whole = [term.name for term in losses.pixel_loss(config.loss).terms if term.whole_batch]
        if config.accumulate > 1 and whole:
            raise InputError(
                f"config.accumulate={config.accumulate}: config.loss={config.loss!r} takes {whole[0]} over the whole "
                "batch, which its parts do not add up to; leave over=batch out, or set accumulate to 1"
            )

    def check(self, records: Source, where: pathlib.Path | str) -> None:
        """Raises InputError for records without any number that the network is to be shown."""
        if self.vectors and not self._has_numbers(records):
            raise InputError(
                f"config.metadata=True: the records of {self.config.split.train!r} in {where} know no "
                f"{self._vector_names}, as far as they were looked at; prepare the data set from a --source that holds "
                "the files with these numbers, too, or set config.metadata=False"
            )

    def split_warning(self, records: Source, split: str) -> str:
        """Returns a warning for records without any number that the network has learned from."""
        if not self.vectors or self._has_numbers(records):
            return ""
        return f"the records of {split!r} know no {self._vector_names}, which this network has learned from"

    @property
    def _vector_names(self) -> str:
        return " and ".join(vector.name for vector in self.vectors)

    def _has_numbers(self, records: Source) -> bool:
        """Whether any number of any vector is known of some records."""
        return any(records.has_numbers(vector.name) for vector in self.vectors)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        return registry.network(
            self.config.model,
            bands={sensor.name: len(sensor.bands) for sensor in self.card.sensors},
            streams=inputs_of(self.card.fusion, self.card.sensors),
            classes=len(self.names),
            precision=self.config.precision,
            remat=self.config.remat,
            metadata=sum(vector.width for vector in self.vectors),
            rngs=rngs,
        )

    def loss(self, model: nnx.Module, batch: Batch, keys_B: jax.Array) -> tuple[jax.Array, Values]:
        """Returns `config.loss` of an augmented batch, and to log the share of labelled pixels that are right, "OA".

        Of a sum each loss is logged, too, without its weight: "loss/dice".
        """
        images = {key: batch[key] for key in self._images}
        floats, drawn = augmentation.augmented(images, batch["corner"], keys_B, self.card.sensors, self.config)
        assert drawn is not None
        logits = model(self._resized(floats) | vectors.encode(self.vectors, batch), keys_B)
        labels = self._labels(drawn)
        valid = labels != IGNORE
        right, labelled = meshes.psum((jnp.sum((jnp.argmax(logits, axis=-1) == labels) & valid), jnp.sum(valid)))
        weights = None if self.weights is None else jnp.asarray(self.weights)
        values = self._loss.values(logits.astype(jnp.float32), labels, weights)
        loss = self._loss.total(values)
        weight = labelled if weights is None else meshes.psum(losses.total_weight(labels, weights))
        shown = {"loss": loss} | ({f"loss/{name}": value for name, value in values.items()} if len(values) > 1 else {})
        return loss, {"OA": Mean(right, labelled)} | of_labelled(shown, labelled, weight)

    def eval_step(self, model: nnx.Module, batch: Batch) -> Values:
        """Returns evaluation sums of whole tiles: the confusion matrix, and how many pixels are left out of it."""
        labels, predictions = self._labels_and_predictions(model, batch)
        real = jnp.sum(batch["valid"]) * labels[0].size
        return {
            "confusion": metrics.confusion(labels, predictions, len(self.names)),
            "ignored": real - jnp.sum(labels != IGNORE),
        }

    def record_sums(self, model: nnx.Module, batch: Batch, further: MapCounts | None = None) -> Values:
        """Returns of each example the confusion matrix (B, N, N), and how many pixels are left out of it (B,)."""
        labels, predictions = self._labels_and_predictions(model, batch)
        return {
            "confusion": metrics.confusion_of_each(labels, predictions, len(self.names)),
            "ignored": batch["valid"] * labels[0].size - jnp.sum(labels != IGNORE, axis=(1, 2)),
        } | (further(labels, predictions) if further else {})

    def _labels_and_predictions(self, model: nnx.Module, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Class indices (B, H, W) of truth, 255 where nothing is scored, and prediction."""
        labels = jnp.where(batch["valid"][:, None, None], self._labels(batch["label"]), np.uint8(IGNORE))
        return labels, jnp.argmax(self._seen_probabilities(model, batch), axis=-1)

    def scores(self, sums: Values) -> dict[str, float]:
        """Returns the scores of docs/scores.md of the summed confusion matrix."""
        return metrics.scores(sums["confusion"], self.names)[0]

    def probabilities(self, model: nnx.Module, batch: Batch, temperatures_M: jax.Array | None = None) -> jax.Array:
        """Returns class probabilities (B, H, W, classes) float32 of stored numbers, in windows of `config.window`.

        A batch may come without vectors: they are not known, then. With `config.resize` the answers of the smaller
        image are interpolated bilinearly. With temperatures it is (B, H, W, M * classes), see `Task.probabilities`.
        """
        seen = self._seen_probabilities(model, batch, temperatures_M)
        height, width = batch[self.card.sensors[0].name].shape[1:3]
        return seen if seen.shape[1:3] == (height, width) else resize(seen, height, width)

    def _seen_probabilities(
        self, model: nnx.Module, batch: Batch, temperatures_M: jax.Array | None = None
    ) -> jax.Array:
        """Class probabilities at the resolution that the network sees."""
        images = self._resized(
            {sensor.name: augment.scale(batch[sensor.name], sensor.scaling) for sensor in self.card.sensors}
        )
        count = len(next(iter(images.values())))
        shown = vectors.encode(self.vectors, vectors.unknown(self.vectors, count) | batch)

        def answer(windows: dict[str, jax.Array]) -> jax.Array:
            logits = model(windows | shown)
            if temperatures_M is None:
                return jax.nn.softmax(logits, axis=-1)
            return reliability.softmax_at(logits, temperatures_M)

        return blended_windows(answer, images, self.config.window)

    def _resized(self, images: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {name: augment.resize_images(image, *self._seen_size(image)) for name, image in images.items()}

    def _seen_size(self, image: jax.Array) -> tuple[int, int]:
        """Height and width that the network sees an image with."""
        height, width = image.shape[1:3]
        share = self.config.resize / self.card.tile if self.config.resize else 1.0
        return max(1, round(height * share)), max(1, round(width * share))

    def _labels(self, labels: jax.Array) -> jax.Array:
        """Class indices at the resolution that the network sees."""
        small = augment.resize_labels(labels, *self._seen_size(labels))
        return jnp.asarray(self.card.legend.index_of_id())[small.astype(jnp.int32)]
