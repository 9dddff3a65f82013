"""Whether a workdir can hold checkpoints: by its name, and by a trial."""

import pathlib
import shutil

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data_pipelines.schema.errors import InputError
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.runs.checkpoints import Checkpoints
from lcjax.runs.progress import Progress

_TRIAL = ".trial"
# Orbax takes a whole path for a pattern where it looks for what it has written, and these folders for buckets.
_PATTERNS = "*?[\\"
_BUCKETS = ("gs", "s3", "az", "hf")


def check_name(workdir: pathlib.Path, flag: str = "--workdir") -> None:
    """Looks whether checkpoints that are written below a folder of this name could be read again.

    Args:
      workdir: the folder.
      flag: that named it.

    Raises:
      InputError: they could not.
    """
    whole = workdir.absolute()
    if held := [letter for letter in _PATTERNS if letter in str(whole)]:
        raise InputError(
            f"{whole}: holds {' and '.join(held)}, and checkpoints written below such a name cannot be read; choose "
            f"another {flag}, or rename the folder above it"
        )
    if whole.parts[1:2] and whole.parts[1] in _BUCKETS:
        raise InputError(f"{whole}: checkpoints below /{whole.parts[1]} are sought in a bucket; choose another {flag}")


def try_out(workdir: pathlib.Path, mesh: Mesh) -> None:
    """Saves an array as checkpoints are saved, reads it back and removes it; all processes call it.

    Args:
      workdir: of the run.
      mesh: of the run: each device writes its part.

    Raises:
      InputError: in all processes, where one of them cannot write, or does not find what was written.
    """
    folder = workdir / "checkpoints" / _TRIAL
    written = np.arange(64 * mesh.size, dtype=np.float32)
    spread = meshes.place(written, NamedSharding(mesh, PartitionSpec(mesh.axis_names)))
    _remove(folder)  # what a kill has left
    try:
        trial = Checkpoints(workdir, _TRIAL, keep=1)
        trial.save(1, model={"trial": spread}, optimizer={"trial": spread}, meta=Progress())
        trial.wait()
        damage = trial.damage(1)
        found = trial.restore_model(1, {"trial": spread})["trial"]
        trial.close()
        pairs = zip(found.addressable_shards, spread.addressable_shards, strict=True)
        same = all(np.array_equal(jax.device_get(one.data), jax.device_get(other.data)) for one, other in pairs)
        with multihost.raise_on_all():
            if damage or not same:
                raise InputError(damage or f"{folder}: other numbers came back than were saved")
    except InputError as error:
        raise InputError(f"{workdir}: nothing was trained, as a trial of this storage failed: {error}") from error
    finally:
        _remove(folder)


def _remove(folder: pathlib.Path) -> None:
    if multihost.is_main_process():
        shutil.rmtree(folder, ignore_errors=True)
    multihost.barrier(f"no {folder}")
