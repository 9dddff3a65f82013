"""The two views of a place that pre-training compares, as `config.views` names them."""

import abc
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import whole
from lcjax.ops import augment, augmentation
from lcjax.runs.model_card import Card
from lcjax.tasks import fusion as fusions
from lcjax.tasks.task import Batch

_DRAWS = (200, 201)  # of the two views: folded into the keys of examples, as no draw of lcjax/ops is


class Views(abc.ABC):
    """Makes two views of each place of a batch of stored integers {sensor: (B, H, W, bands)}.

    Attributes:
      encoders: name of each encoder -> how many bands it takes.
      encoder_of: name of each view, the first one first -> name of its encoder.
      cuts_on_device: whether it cuts whole tiles itself.
    """

    cuts_on_device = False
    encoders: dict[str, int]
    encoder_of: dict[str, str]

    def __init__(self, config: ConfigDict, card: Card):
        self.config, self.sensors = config, card.sensors

    @abc.abstractmethod
    def of_training(self, batch: Batch, keys_B: jax.Array) -> dict[str, jax.Array]:
        """Returns what the network is shown of a training batch: {view: (B, h, w, bands)} float32."""

    @abc.abstractmethod
    def of_evaluation(self, batch: Batch) -> dict[str, jax.Array]:
        """Returns what the network is shown of whole tiles to measure its loss and retrieval, the same each time."""

    @abc.abstractmethod
    def to_embed(self, batch: Batch) -> dict[str, jax.Array]:
        """Returns whole images as they are, for one view of each encoder, or for both where they differ."""

    def _images(self, batch: Batch) -> dict[str, jax.Array]:
        return {sensor.name: batch[sensor.name] for sensor in self.sensors}

    def _scaled(self, images: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return {sensor.name: augment.scale(images[sensor.name], sensor.scaling) for sensor in self.sensors}


class Sensors(Views):
    """Each of two sensors is a view, with an encoder of its own."""

    def __init__(self, config: ConfigDict, card: Card):
        super().__init__(config, card)
        self.encoders = {sensor.name: len(sensor.bands) for sensor in card.sensors}
        self.encoder_of = {sensor.name: sensor.name for sensor in card.sensors}
        if len(card.sensors) != 2 or fusions.inputs_of(card.fusion, card.sensors) != whole(self.encoders):
            raise InputError(
                f"config.fusion={card.fusion!r}: the {config.task} task needs two sensors: fusion='late', an encoder "
                "for each, or of more sensors 'late:A+B'; or, of one encoder, config.views='augmentations' or 'dates'"
            )

    def of_training(self, batch: Batch, keys_B: jax.Array) -> dict[str, jax.Array]:
        """Both sensors under the same crop and flip."""
        return augmentation.augmented(self._images(batch), batch["corner"], keys_B, self.sensors, self.config)[0]

    def of_evaluation(self, batch: Batch) -> dict[str, jax.Array]:
        """The middle of each tile."""
        return self._scaled(augment.centre_crop(self._images(batch), crop=self.config.crop))

    def to_embed(self, batch: Batch) -> dict[str, jax.Array]:
        """Both sensors."""
        return self._scaled(batch)


class Dates(Sensors):
    """Each of two dates of one sensor is a view; both go through one encoder."""

    def __init__(self, config: ConfigDict, card: Card):
        Views.__init__(self, config, card)
        streams = fusions.streams_of(card.fusion, card.sensors)
        (name, stream), *others = streams.items()
        if others or not stream.in_turn or len(card.sensors) != 2:
            raise InputError(
                f"config.fusion={card.fusion!r}: config.views='dates' compares two dates of one sensor; name them as "
                "dates:A+B, such as dates:s2_before+s2_after"
            )
        self.encoders = {name: len(card.sensors[0].bands)}
        self.encoder_of = {sensor.name: name for sensor in card.sensors}


class Augmentations(Views):
    """Two draws of crop, flip and all other augmentation of one image, through one encoder (Chen et al. 2020)."""

    cuts_on_device = True  # for each view another square

    def __init__(self, config: ConfigDict, card: Card):
        super().__init__(config, card)
        streams = fusions.inputs_of(card.fusion, card.sensors)
        (name, self._stream), *others = streams.items()
        if others or self._stream.adapter:
            raise InputError(
                f"config.fusion={card.fusion!r}: config.views='augmentations' has one encoder, and this fusion has "
                f"{', '.join(streams)}; name one sensor, or early, or take views='sensors'"
            )
        self.encoders = {name: self._stream.bands}
        self.encoder_of = {"first": name, "second": name}

    def of_training(self, batch: Batch, keys_B: jax.Array) -> dict[str, jax.Array]:
        """Two draws from the key of each example."""
        return self._drawn(batch, keys_B)

    def of_evaluation(self, batch: Batch) -> dict[str, jax.Array]:
        """Two draws, each from the seed and the place in the batch: the same ones in every evaluation.

        Of the same image twice nothing could be measured.
        """
        return self._drawn(batch, augment.evaluation_keys(self.config.seed, len(batch["valid"])))

    def to_embed(self, batch: Batch) -> dict[str, jax.Array]:
        """The image, once."""
        return {"first": self._stream.of(self._scaled(batch))}

    def _drawn(self, batch: Batch, keys_B: jax.Array) -> dict[str, jax.Array]:
        images = self._images(batch)
        tile = next(iter(images.values())).shape[1]
        room = tile - (augmentation.window(tile, self.config) or tile)
        views = {}
        for view, number in zip(self.encoder_of, _DRAWS, strict=True):
            keys_Bx2 = jax.vmap(lambda key, number=number: jax.random.split(jax.random.fold_in(key, number)))(keys_B)
            corner_Bx2 = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, room + 1))(keys_Bx2[:, 0])
            floats, _ = augmentation.augmented(images, corner_Bx2, keys_Bx2[:, 1], self.sensors, self.config)
            views[view] = self._stream.of(floats)
        return views


VIEWS: dict[str, type[Views]] = {"sensors": Sensors, "dates": Dates, "augmentations": Augmentations}


def of_run(config: ConfigDict, card: Card) -> Views:
    """Returns the views of a run. Raises InputError where its fusion has none such."""
    return VIEWS[config.views](config, card)
