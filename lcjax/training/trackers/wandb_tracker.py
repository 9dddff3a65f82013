"""Weights & Biases: its server, or with WANDB_MODE=offline the folder WORKDIR/wandb, which `wandb sync` sends later."""

import importlib.util
import io
import secrets
from collections.abc import Mapping
from typing import Any

from data_pipelines.schema.errors import InputError
from lcjax.runs import workdir
from lcjax.training.trackers.interface import Picture, Run, Tracker

_PROJECT = "lcjax"
_PATIENCE = 60.0  # seconds for the server to answer at the start


class WeightsAndBiases(Tracker):
    """A run of the project WANDB_PROJECT (else "lcjax"); WANDB_MODE=offline keeps it in WORKDIR/wandb."""

    @classmethod
    def check(cls) -> None:
        """Raises InputError where the package is missing."""
        if importlib.util.find_spec("wandb") is None:
            raise InputError(
                "config.trackers='wandb': needs the package wandb, which is not installed: pip install 'lcjax[wandb]'"
            )

    def __init__(self, run: Run):
        import wandb

        settings = wandb.setup().settings
        offline = settings.mode in ("offline", "dryrun")
        # Else it would ask at the terminal, in the middle of a run.
        if settings.mode not in ("offline", "dryrun", "disabled") and not wandb.login(prompt=False, verify=False):
            raise InputError("nobody is logged in; run `wandb login`, set WANDB_API_KEY, or WANDB_MODE=offline")
        self._run: Any = wandb.init(
            project=settings.project or _PROJECT,
            id=run.id or secrets.token_hex(4),
            name=workdir.name_of(run.workdir),
            dir=run.workdir,
            config=dict(run.config),
            # Offline there is nobody to tell what is there: each start writes a folder that holds the whole run, and
            # the newest replaces the others when it is sent.
            resume=None if offline else "allow",
            reinit="create_new",
            settings=wandb.Settings(
                console="off", disable_git=True, save_code=False, silent=True, init_timeout=_PATIENCE
            ),
        )
        self._images = wandb.Image
        self.id, self.begins_anew = self._run.id, offline
        self.where = f"{self._run.dir} (send it with `wandb sync`)" if offline else str(self._run.url)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs all of them at once."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, picture: Picture) -> None:
        """Logs a picture of the step."""
        from PIL import Image

        self._run.log({picture.name: self._images(Image.open(io.BytesIO(picture.png)))}, step=step)

    def close(self, *, ended: bool) -> None:
        """Sends what is left."""
        self._run.finish()
