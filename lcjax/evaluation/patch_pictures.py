"""A picture of classified patches: a few of a split, each with its labels and what the network says."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from data_pipelines.schema import display
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.sensors import Sensor
from lcjax.engine import restore
from lcjax.ops import patch_scores

FILE = "patches.png"


def write(out: pathlib.Path, trained: restore.Trained, sensor: Sensor, records: Sequence[dict[str, Any]]) -> None:
    """Writes patches.png.

    Args:
      out: folder.
      trained: a network that classifies.
      sensor: whose display bands make the images.
      records: as a data source gives them.
    """
    from lcjax.plotting import figures

    task = trained.task
    batch = {key: np.stack([record[key] for record in records]) for key in task.keys}

    @jax.jit
    def answer(parameters: Any, statistics: Any, batch: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        model = trained.template.merge(parameters, statistics, train=False)
        return task.probabilities(model, batch), task.labels(batch["label"])

    probabilities, labels = jax.device_get(answer(trained.parameters, trained.statistics, batch))
    given = patch_scores.given(probabilities, single=task.single)
    patches = [
        figures.Classified(
            str(record["id"]),
            display.rgb(sensor, record[sensor.name]),
            tuple(task.names[k] for k in np.flatnonzero(labels[i] == 1)) if labels[i][0] != IGNORE else None,
            tuple((task.names[k], float(probabilities[i][k])) for k in np.flatnonzero(given[i])),
        )
        for i, record in enumerate(records)
    ]
    (out / FILE).write_bytes(figures.patches(patches))
