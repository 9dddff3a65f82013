"""MLflow: a server, or a store in files, that MLFLOW_TRACKING_URI names."""

import importlib.util
import io
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from data_pipelines.schema.errors import InputError
from lcjax.runs import workdir
from lcjax.training.trackers.interface import Picture, Run, Tracker

_EXPERIMENT = "lcjax"
_SPLITS = ("train", "validation")
_BATCH = 100  # parameters of one call, as many as MLflow takes
_LONGEST = 500  # characters of a parameter
_OTHER = re.compile(r"[^\w\-. /]", re.ASCII)  # what the name of a metric may not hold, and the colon


class MLflow(Tracker):
    """A run of the experiment MLFLOW_EXPERIMENT_NAME at MLFLOW_TRACKING_URI."""

    @classmethod
    def check(cls) -> None:
        """Raises InputError where the package is missing."""
        if importlib.util.find_spec("mlflow") is None:
            raise InputError(
                "config.trackers='mlflow': needs the package mlflow-skinny (or mlflow), which is not installed: pip "
                "install 'lcjax[mlflow]'"
            )

    def __init__(self, run: Run):
        import mlflow
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=mlflow.get_tracking_uri())
        found = self._found(run.id)
        if found:
            self.id = run.id
            self.holds = {split: step for split in _SPLITS if (step := self._last(found, split)) >= 0}
            self._client.update_run(self.id, status="RUNNING")
        else:
            self.id = self._begun(run)
        self.where = f"run {self.id} of {mlflow.get_tracking_uri()}"

    def _found(self, run_id: str) -> Any:
        """The run of an earlier start; None where there was none, or it is not in this store."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos import databricks_pb2

        if not run_id:
            return None
        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            missing = databricks_pb2.ErrorCode.Name(databricks_pb2.RESOURCE_DOES_NOT_EXIST)
            if error.error_code == missing:
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _last(self, found: Any, split: str) -> int:
        """The last step of a split that the store holds of any metric, as not every step has all; -1 for none."""
        keys = [key for key in found.data.metrics if key.startswith(f"{split}/")]
        points = (point for key in keys for point in self._client.get_metric_history(self.id, key))
        return max((int(point.step) for point in points), default=-1)

    def _begun(self, run: Run) -> str:
        """Makes a run, and returns its id."""
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run_id: str = self._client.create_run(number, run_name=workdir.name_of(run.workdir)).info.run_id
        parameters = [Param(key, str(value)[:_LONGEST]) for key, value in run.config.items() if str(value)]
        for first in range(0, len(parameters), _BATCH):
            self._client.log_batch(run_id, params=parameters[first : first + _BATCH])
        return run_id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs all of them in one call."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self.id, [Metric(metric_key(name), value, now, step) for name, value in values.items()])

    def picture(self, step: int, picture: Picture) -> None:
        """Logs a picture of the step."""
        from PIL import Image

        image = Image.open(io.BytesIO(picture.png)).convert("RGB")
        self._client.log_image(self.id, image, key=picture.name.replace("/", " "), step=step)

    def close(self, *, ended: bool) -> None:
        """Says that the run is finished, or that it may go on."""
        self._client.set_terminated(self.id, "FINISHED" if ended else "KILLED")


def metric_key(name: str) -> str:
    """A name as MLflow takes it; of two names, two."""
    return _OTHER.sub(lambda one: f":{ord(one[0]):x}:", name)
