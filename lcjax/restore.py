"""Trained networks from their workdirs: to evaluate and predict with, or to start another from."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import jax
import ml_collections
import numpy as np

from data_pipelines.errors import InputError
from lcjax import card as cards
from lcjax import checkpoint, parameters, tasks, workdir

Probabilities = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
      config, card: of its run.
      step: updates that it had.
      task, template: what builds and calls it.
      parameters, statistics: arrays by path, on the default device.
    """

    config: ml_collections.ConfigDict
    card: cards.Card
    step: int
    task: tasks.Task
    template: parameters.Template
    parameters: dict
    statistics: dict

    @property
    def probabilities(self) -> Probabilities:
        """A function {sensor: stored integers (B, H, W, bands)} -> class probabilities (B, H, W, classes) float32."""
        task = self.task
        if not isinstance(task, tasks.PixelTask):
            raise InputError(f"a {self.config.task} run has no classes to map; give the workdir of a segmentation run")

        @jax.jit
        def forward(values: dict, statistics: dict, batch: dict):
            return task.probabilities(self.template.merge(values, statistics, train=False), batch)

        return lambda batch: np.asarray(forward(self.parameters, self.statistics, dict(batch)))


def restore(folder: pathlib.Path, kind: str = "best") -> Trained:
    """The network of a workdir, from its "best" or "last" checkpoint.

    Raises:
      InputError: no such workdir or checkpoint.
    """
    config = workdir.read_config(folder)
    checkpoints, step = checkpoint.find(folder, kind)
    # The checkpoint's own card, not the copy beside it: it is what these parameters were trained with.
    card = cards.from_json(checkpoints.restore_meta(step)["card"])
    task = tasks.make(config, card)
    template = parameters.Template(task.build)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def like(shapes: dict) -> dict:
        return {k: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=here) for k, v in shapes.items()}

    wanted = {"parameters": like(template.parameters), "statistics": like(template.statistics)}
    model = checkpoints.restore_model(step, wanted)
    checkpoints.close()
    return Trained(config, card, step, task, template, model["parameters"], model["statistics"])


def pretrained(folder: pathlib.Path, values: dict, statistics: dict) -> tuple[dict, dict]:
    """Initial values with the encoders of another run, from its last checkpoint.

    The last, not the best: pre-training is judged by what is built on it, not by its own held-out score.
    """
    source = restore(folder, "last")
    taken = [dict(jax.device_get(flat)) for flat in (source.parameters, source.statistics)]
    return (
        parameters.transfer(values, taken[0], "encoders", str(folder)),
        parameters.transfer(statistics, taken[1], "encoders", str(folder)),
    )
