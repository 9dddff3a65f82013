"""Tasks: what a batch means. A task owns the network, its inputs, the loss, the evaluation sums and their scores."""

from collections.abc import Callable

from data_pipelines.schema.errors import InputError
from lcjax.runs.model_card import Card
from lcjax.tasks.contrastive import Contrastive
from lcjax.tasks.segmentation import Segmentation
from lcjax.tasks.task import EmbeddingTask, PixelTask, Task

__all__ = ["TASKS", "EmbeddingTask", "PixelTask", "Task", "make"]

TASKS: dict[str, Callable[..., Task]] = {"segmentation": Segmentation, "contrastive": Contrastive}


def make(config, card: Card) -> Task:
    """The task of `config.task`. Raises InputError for an unknown name."""
    if config.task not in TASKS:
        raise InputError(f"config.task={config.task!r}: expected one of {', '.join(TASKS)}")
    return TASKS[config.task](config, card)
