"""Tasks: what a batch means. A task owns the network, its inputs, the loss, the evaluation sums and their scores."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.models import registry as models
from lcjax.ops import losses
from lcjax.runs.model_card import Card
from lcjax.tasks.classification import Classification
from lcjax.tasks.contrastive import Contrastive
from lcjax.tasks.masked import Masked
from lcjax.tasks.segmentation import Segmentation
from lcjax.tasks.task import Mean, Rows, Task
from lcjax.tasks.vicreg import VICReg

__all__ = ["REGISTRY", "TASKS", "Mean", "Rows", "Task", "check_config", "check_names", "make", "named"]

TASKS: dict[str, type[Task]] = {
    "segmentation": Segmentation,
    "classification": Classification,
    "contrastive": Contrastive,
    "vicreg": VICReg,
    "masked": Masked,
}
REGISTRY = plugins.Registry("config.task", "lcjax.tasks", TASKS)


def check_names(config: Mapping[str, Any]) -> None:
    """Refuses the config of a workdir if it names a network, data set, task or loss that it may not; imports nothing.

    Raises:
      InputError: one of the names is neither built in, nor installed, nor of a package that is allowed here.
    """
    named = {**config, "model": (config.get("model") or {}).get("name")}
    checks = {
        "task": REGISTRY.check,
        "model": models.MODELS.check,
        "dataset": datasets.check,
        "loss": losses.check_names,
    }
    for field, check in checks.items():
        if named.get(field) is not None:
            check(named[field])


def named(name: str) -> type[Task]:
    """Returns the task that `config.task` names, as a class; its class attributes say what can be asked of it.

    Raises:
      InputError: nothing has this name, or what has it is no task.
    """
    found = REGISTRY.find(name)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"config.task={name!r}: found {found!r:.60}, expected a subclass of lcjax.tasks.Task")
    return found


def make(config: ConfigDict, card: Card) -> Task:
    """Returns the task of `config.task`.

    Raises:
      InputError: as `named`; the config names an unknown data set, or holds values that the task cannot take.
    """
    datasets.entry(config.dataset)  # so that no verb goes on with a name that nobody can tell the meaning of
    check_config(config)
    return named(config.task)(config, card)


def check_config(config: ConfigDict) -> None:
    """Raises InputError for a config whose task is unknown, or cannot take its values whatever the data."""
    task = named(config.task)
    if config.accumulate > 1 and not task.splits_batches:
        raise InputError(
            f"config.accumulate={config.accumulate}: the {config.task} loss compares all places of a batch, which "
            "parts cannot; set it to 1"
        )
    task.check_config(config)
