"""Whether the blocks of a network run as kernels: what config.attention says, and what a chip has to prove for it."""

import dataclasses
import json
import pathlib
from typing import TypedDict

import jax

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.engine.experiment import Experiment
from lcjax.models.kernels import check, halves
from lcjax.parallel import multihost
from lcjax.runs import SCHEMA_VERSION

FILE = "attention.json"
_REMEDY = "delete it, and the run chooses anew, perhaps otherwise"

_log = multihost.shared_logger(__name__)


class Choice(TypedDict):
    """What attention.json holds.

    Attributes:
      implementation: of halves.IMPLEMENTATIONS.
      device: kind of the devices that it was chosen for.
      why: for people.
    """

    implementation: str
    device: str
    why: str


def settled(experiment: Experiment, folder: pathlib.Path | None = None) -> Experiment:
    """The experiment with blocks as config.attention wants them, on devices that are at hand; all processes call it.

    With "auto" kernels must first agree with the plain block on random numbers of each shape that the step has. What
    was chosen stands in the workdir, and a run that goes on keeps to it. Where there is no kernel to choose nothing
    happens.

    Args:
      experiment: of the run.
      folder: its workdir; None where there is none, as of a benchmark.

    Raises:
      InputError: attention.json is damaged, or kernels are asked for where there are none.
    """
    asked, platform = experiment.config.attention, experiment.mesh.devices.flat[0].platform
    if asked == halves.PALLAS and not experiment.kernels():
        raise InputError(
            f"config.attention={asked!r}: no block of {experiment.config.model.name} has a kernel at this size, or the "
            "batch does not divide over the devices; take auto or xla"
        )
    if experiment.implementation == halves.INTERPRET:
        _log.warning(
            f"config.attention={asked!r} on {platform}: kernels run in Pallas' interpreter, which is for tests and "
            "slow; take auto or xla"
        )
    if asked != halves.AUTO or experiment.implementation == halves.XLA:
        return experiment
    kinds = ", ".join(sorted({device.device_kind for device in experiment.mesh.devices.flat}))
    choice = _kept(folder, kinds) or _chosen(experiment, kinds)
    if folder is not None:
        with multihost.raise_on_all() as is_main:
            if is_main:
                write_atomically(folder / FILE, json.dumps(schema_version.stamp(choice, SCHEMA_VERSION), indent=1))
    _log.info(f"config.attention={asked!r}: {choice['implementation']}, {choice['why']}")
    return dataclasses.replace(experiment, implementation=choice["implementation"])


def _kept(folder: pathlib.Path | None, device: str) -> Choice | None:
    """What the workdir says of these devices, as process 0 reads it; None where it says nothing."""
    text = ""
    with multihost.raise_on_all() as is_main:
        if is_main and folder is not None and (folder / FILE).is_file():
            read = schema_version.read_json(folder / FILE, Choice, SCHEMA_VERSION, _REMEDY)
            if read["implementation"] not in (halves.XLA, halves.PALLAS):
                raise InputError(
                    f"{folder / FILE}: implementation {read['implementation']!r:.60}: expected {halves.XLA} or "
                    f"{halves.PALLAS}; {_REMEDY}"
                )
            text = json.dumps(read) if read["device"] == device else ""
    agreed = multihost.from_main_process(text)
    return json.loads(agreed) if agreed else None


def _chosen(experiment: Experiment, device: str) -> Choice:
    """Kernels, if each of them agrees with the plain block in all processes."""
    found = ""
    worst = check.Agreement(0.0, 0.0)
    kernels = experiment.kernels()
    for half in kernels:
        try:
            agreement = check.agreement(half, experiment.implementation, jax.local_devices()[0])
        # The compiler of kernels has many error types; whichever it is, the plain path serves.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            found = f"{half}: {type(error).__name__}: {reason:.300}"
            break
        if not agreement.worst <= check.TOLERANCE[experiment.implementation]:
            found = f"{half} differs from the plain block by {agreement.value:.2g}, gradients {agreement.gradient:.2g}"
            break
        worst = max(worst, agreement, key=lambda one: one.worst)
    if not multihost.all_true(not found):
        why = f"a kernel is not fit for this chip: {multihost.from_main_process(found) or 'in another process'}"
        return Choice(implementation=halves.XLA, device=device, why=why)
    if not kernels:
        return Choice(implementation=halves.XLA, device=device, why="no block of this network has a kernel")
    why = (
        f"{len(kernels)} kernels agree with the plain blocks: values to {worst.value:.1e}, gradients to "
        f"{worst.gradient:.1e} of the largest number"
    )
    return Choice(implementation=experiment.implementation, device=device, why=multihost.from_main_process(why))
