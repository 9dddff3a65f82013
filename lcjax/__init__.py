"""lcjax: land-cover mapping from satellites and aircraft in JAX.

    import lcjax

    data = lcjax.data.from_arrays({"train": (images, masks), "test": (x, y)}, classes=["water", "road"])
    config = lcjax.config("rasters", model="unet", tiny=True, validation="none", total="200 steps")
    run = lcjax.train(config, "runs/x", data=data)
    net = lcjax.load("runs/x")
    net.predict(image)

Nothing heavy is imported, and no device is touched, before one of these is called.
"""

import importlib
import logging
import os
import pathlib
from typing import TYPE_CHECKING, Any

from lcjax.parallel import cpu
from lcjax.version import __version__

if TYPE_CHECKING:
    import ml_collections

    from data_pipelines.reading.interfaces import Dataset
    from lcjax import data, models
    from lcjax.mapping.network import Network
    from lcjax.training.loop import TrainResult

__all__ = ["__version__", "config", "data", "evaluate", "load", "models", "train"]

cpu.set_flags(os.environ)
# A library's lines are for whoever sets logging up: the verbs do (lcjax/cli/console.py).
logging.getLogger("lcjax").addHandler(logging.NullHandler())


def config(name: str, **values: Any) -> "ml_collections.ConfigDict":
    """Makes the config of an experiment.

    Examples:
      >>> import lcjax
      >>> config = lcjax.config("dfc2020", model="swin_unet", batch_size=8, **{"optimizer.learning_rate": 1e-4})
      >>> config.model.name, config.batch_size, config.optimizer.learning_rate
      ('swin_unet', 8, 0.0001)

    Args:
      name: "dfc2020", "flair1", "pretrain", "rasters" or "classification"; a path that ends in .py; or
        package.module:function.
      **values: arguments of that config (`lcjax info dfc2020` lists them), or fields of it; nested fields by their
        dotted names. Where both are called alike, the argument is meant.

    Raises:
      InputError: there is no such config, argument or field, or a value is not of its type.
    """
    from data_pipelines.schema import plugins
    from lcjax.configs import registry

    made = registry.create(name, **values)
    plugins.allow_named_in(made)  # who calls this names what is imported
    return made


def train(
    config: "ml_collections.ConfigDict",
    workdir: str | pathlib.Path,
    data: "Dataset | None" = None,
    *,
    allow_other_config: bool = False,
) -> "TrainResult":
    """Trains the network of a config; stopped at any moment, the same call goes on from the last checkpoint.

    Examples:
      >>> import numpy as np
      >>> import lcjax
      >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
      >>> masks = (images[..., 0] > 127).astype(np.uint8)
      >>> data = lcjax.data.from_arrays({"train": (images, masks)}, classes=["dark", "bright"])
      >>> config = lcjax.config("rasters", tiny=True, validation="none", test="none", crop=32, total="2 steps")
      >>> run = lcjax.train(config, workdir / "run", data=data)
      >>> run.step, run.ended
      (2, 'all steps done')

    Args:
      config: of `lcjax.config`.
      workdir: folder of the run, as `lcjax train` has it; made if it is not there.
      data: of `lcjax.data.from_arrays` or `lcjax.data.open`; None opens the prepared data set that the config names.
      allow_other_config: go on with a run that was started with another config.

    Returns:
      The validation scores of the best checkpoint, and all that was logged (`scores`, `history`).

    Raises:
      InputError: config, data and workdir do not go together.
      FloatingPointError: loss or gradient are not finite.
    """
    from lcjax.cli import console
    from lcjax.training import run

    with console.shown_in_notebooks():
        return run.train(config, workdir, data, allow_other_config=allow_other_config)


def load(workdir: str | pathlib.Path, checkpoint: str = "best", *, calibrated: bool = True) -> "Network":
    """Loads the network of a run, to ask it for classes, probabilities or maps.

    Examples:
      >>> import numpy as np
      >>> import lcjax
      >>> net = lcjax.load(workdir)
      >>> image = {"s1": np.full((40, 50, 2), -1200, np.int16), "s2": np.full((40, 50, 13), 900, np.uint16)}
      >>> net.predict(image).shape, net.probabilities(image).shape
      ((40, 50), (40, 50, 8))

    Args:
      workdir: of a training run.
      checkpoint: "best" or "last".
      calibrated: whether probabilities are those of calibration.json, where the run has one (docs/calibration.md).

    Raises:
      InputError: there is no such run or checkpoint.
    """
    from lcjax.mapping import network

    return network.load(workdir, checkpoint, calibrated=calibrated)


def evaluate(
    workdir: str | pathlib.Path,
    split: str = "test",
    checkpoint: str = "best",
    data: "Dataset | None" = None,
    *,
    dataset: "str | Dataset | None" = None,
    calibrate: bool = False,
    data_dir: str | pathlib.Path | None = None,
    boundary: str | None = None,
    objects: str | None = None,
) -> dict[str, Any]:
    """Scores the network of a run on a split, every pixel once, and writes WORKDIR/evaluation/SPLIT.

    Examples:
      >>> import lcjax
      >>> scores = lcjax.evaluate(workdir)["scores"]
      >>> sorted(scores)[:3]
      ['Acc/Barren', 'Acc/Croplands', 'Acc/Forest']

    Args:
      workdir: of a training run.
      split: a role of the run's config: "train", "validation" or "test"; with `dataset` a split of that.
      checkpoint: "best" or "last".
      data: for a run that was trained on arrays: the data set that it was given.
      dataset: another data set to score, over the classes of equal name: a prepared one by name, or one in Python.
      calibrate: fit the probabilities to the validation split first (docs/calibration.md).
      data_dir: where prepared data sets lie, if not where they lay in training.
      boundary: also boundary IoU, within this distance of contours: "2%" of the diagonal of a tile, or "3px".
      objects: also the recall of objects, in size classes that begin at these pixels: "10,100,1000".

    Returns:
      What metrics.json holds.

    Raises:
      InputError: there is no such run, checkpoint or split, or the data are others than in training.
    """
    from data_pipelines.schema import paths
    from data_pipelines.schema.errors import InputError
    from lcjax.cli import console
    from lcjax.evaluation import elsewhere, evaluate
    from lcjax.evaluation.calibrate import evaluate_calibrated
    from lcjax.evaluation.further import Further

    further = Further.asked(boundary, objects)
    where = None if data_dir is None else str(data_dir)
    with console.shown_in_notebooks():
        folder = paths.given(workdir, "workdir")
        if dataset is not None and data is not None:
            raise InputError("data and dataset: found both; expected the data of the run, or another data set to score")
        if dataset is not None and calibrate:
            raise InputError("calibrate and dataset: found both; calibrate the run on its own data first")
        if calibrate:
            return evaluate_calibrated(folder, split, checkpoint, where, data, further)
        if dataset is not None:
            return elsewhere.evaluate_elsewhere(folder, dataset, split, checkpoint, where, further)
        return evaluate.evaluate(folder, split, checkpoint, where, data, further)


def __getattr__(name: str) -> Any:
    if name in ("data", "models"):
        return importlib.import_module(f"lcjax.{name}")
    raise AttributeError(f"module 'lcjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
