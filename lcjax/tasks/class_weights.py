"""How much each class counts in the loss of a run, by what its config says and its card has counted."""

import numpy as np
from ml_collections import ConfigDict

from data_pipelines.schema.errors import InputError
from lcjax.ops import losses
from lcjax.runs.model_card import Card


def of_run(config: ConfigDict, card: Card) -> np.ndarray | None:
    """Returns the weight of each scored class, (K,) float32; None where all count alike.

    Raises:
      InputError: the weights are given twice, or do not fit the classes.
    """
    train = pixels(card, "train")
    if config.class_weights_fixed:
        if config.class_weights:
            raise InputError(
                f"config.class_weights={config.class_weights}: config.class_weights_fixed gives the weights of "
                "classes; leave one of them out"
            )
        names = [land_class.name for land_class in card.legend.scored]
        return losses.fixed_weights(config.class_weights_fixed, train, names)
    if not config.class_weights:
        return None
    return losses.CLASS_WEIGHTS[config.class_weights_rule](train, config.class_weights)


def pixels(card: Card, role: str) -> list[int]:
    """Returns the number of labelled pixels of each scored class in a role of a run; 0 where the role is unknown."""
    split = card.splits.get(role)
    return [split["class_pixels"].get(str(land_class.id), 0) if split else 0 for land_class in card.legend.scored]
