"""The trackers that a config names."""

from collections.abc import Mapping
from typing import Any

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.training.trackers.interface import Tracker
from lcjax.training.trackers.mlflow_tracker import MLflow
from lcjax.training.trackers.tensorboard_tracker import TensorBoard
from lcjax.training.trackers.wandb_tracker import WeightsAndBiases

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow}
REGISTRY = plugins.Registry("config.trackers", "lcjax.trackers", TRACKERS)


def named(config: Mapping[str, Any]) -> dict[str, type[Tracker]]:
    """The trackers of a config by name, in its order.

    Raises:
      InputError: nothing has such a name, what has it is no tracker, or it cannot work on this machine.
    """
    # On the command line several names come as one text.
    names = [name.strip() for text in config["trackers"] for name in str(text).split(",") if name.strip()]
    return {name: _found(name) for name in names}


def _found(name: str) -> type[Tracker]:
    found = REGISTRY.find(name)
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise InputError(f"config.trackers={name!r}: found {found!r:.60}, expected a subclass of Tracker")
    found.check()
    return found
