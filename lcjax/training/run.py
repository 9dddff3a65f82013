"""From a config to a trained network: what `lcjax train` and `lcjax.train` call."""

import pathlib

from data_pipelines.reading.interfaces import Dataset
from data_pipelines.schema import paths
from lcjax.engine import experiment as experiments
from lcjax.parallel import multihost
from lcjax.runs import storage
from lcjax.training.loop import TrainResult
from lcjax.training.loop import train as train_experiment


def train(
    config,
    workdir: pathlib.Path | str,
    data: Dataset | None = None,
    *,
    allow_other_config: bool = False,
    profile: str = "",
    started: float | None = None,
) -> TrainResult:
    """Trains the network of a config, or goes on where an earlier call with the same arguments was stopped.

    Args:
      config: of one of the files in configs/.
      workdir: folder of the run; made if it is not there.
      data: to learn from; None opens the prepared data set that the config names.
      allow_other_config: go on with a run that was started with another config.
      profile: "FIRST:LAST", steps that are traced.
      started: when this process began, unix seconds; None for now.

    Raises:
      InputError: config, data and workdir do not go together.
      FloatingPointError: loss or gradient are not finite.
      launcher.Stopped: the run was asked to stop by SIGTERM, and has saved.
    """
    folder = paths.given(workdir, "workdir")
    storage.check_name(folder)
    with multihost.stop_requests():  # what is asked for while the data are opened, the loop will hear of
        return train_experiment(
            experiments.build(config, data),
            folder,
            allow_other_config=allow_other_config,
            profile=profile,
            started=started,
        )
