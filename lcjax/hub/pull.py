"""`lcjax pull`: a network that was pushed to a hub, checked and made a workdir of."""

import logging
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

from data_pipelines.schema import limits, locks
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import whole_folder
from lcjax import tasks
from lcjax.engine import initial, restore
from lcjax.export import weights
from lcjax.hub import manifest
from lcjax.models import params
from lcjax.runs import calibration, checkpoints, model_card, pulled, storage, workdir
from lcjax.runs.progress import Progress
from lcjax.weights import files, hub

_log = logging.getLogger(__name__)

_NOTHING = (
    f"the repository holds no network that `lcjax push` wrote (no {manifest.FILE}); weights of others begin a run by "
    "--config.init=hf:ORG/REPO/FILE"
)


def pull(source: str, folder: pathlib.Path) -> None:
    """Pulls a network into a new workdir, unless the folder already holds it.

    Args:
      source: hf:ORG/NAME, or hf:ORG/NAME@REVISION.
      folder: the workdir to make.

    Raises:
      InputError: the hub has no such network, what it has is damaged, or the folder holds something else.
    """
    storage.check_name(folder)
    whole = folder.absolute()
    lock = whole.with_name(f".{whole.name}.lock")
    with locks.held(lock, f"--workdir={folder}", doing="pulling to", instead="choose another folder"):
        _pull(hub.repository(source, "--source"), folder)


def _pull(repo: hub.Repository, folder: pathlib.Path) -> None:
    path, commit = repo.fetched(manifest.FILE, limits.JSON_BYTES, _NOTHING)
    found = manifest.read(path, repo.said)
    if _is_there(folder, f"{repo.name}@{commit}"):
        _log.info(f"{folder}: already holds {repo.name}@{commit}; nothing to do")
        return
    at = hub.Repository(repo.name, commit, repo.said)
    paths = {name: at.fetched(name)[0] for name in found["files"]}
    manifest.check(paths, found, repo.said)
    with whole_folder(folder) as draft:
        card = _make(draft, paths, found, repo.said)
        pulled.write(draft, f"{repo.name}@{commit}", found["network"])
    _log.info(
        f"pulled: {folder}, {card.model} for {card.dataset}, {found['kind']} checkpoint of step {found['step']:,}; "
        f"licence {found['licence']}, as stated by whoever pushed it; `lcjax info {folder}` tells more"
    )


def _is_there(folder: pathlib.Path, source: str) -> bool:
    """Whether a folder holds this network. Raises InputError where it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    there = pulled.read(folder) if folder.is_dir() else None
    if there and there["source"] == source:
        return True
    held = f"holds {there['source']}" if there else "is there already"
    raise InputError(f"--workdir={folder}: {held}; choose a folder that is new or empty")


def _make(
    draft: pathlib.Path, paths: dict[str, pathlib.Path], found: manifest.Manifest, source: str
) -> model_card.Card:
    """Makes a workdir of what was fetched, and restores the network from it: its numbers are those that were pushed."""
    for name in (workdir.CONFIG, model_card.FILE, calibration.FILE):
        if name in paths:
            shutil.copyfile(paths[name], draft / name)
    config, card = workdir.read_config(draft), model_card.read(draft)
    tasks.check_names(config)
    calibration.read(draft)
    read = files.read(paths[weights.OURS])
    if initial.card_of(read) != card:
        raise InputError(f"{source}: {weights.OURS} has another card than {model_card.FILE}; ask whoever pushed it")
    workdir.write(draft, config, card)
    template = params.Template(tasks.make(config, card).build)
    shapes = template.parameters | template.statistics
    _check_arrays(read.arrays, shapes, source)
    here = {name: jax.device_put(read.arrays[name], jax.local_devices()[0]) for name in shapes}
    model = {
        "parameters": {name: here[name] for name in template.parameters},
        "statistics": {name: here[name] for name in template.statistics},
    }
    saved = checkpoints.Checkpoints(draft, found["kind"], keep=1)
    # A checkpoint has three items; of an optimiser there is nothing to keep.
    progress = Progress(card=card.to_json(), ended=f"pulled from {source}")
    saved.save(found["step"], model=model, optimizer={"none": jax.device_put(np.zeros(1, np.float32))}, meta=progress)
    saved.wait()
    saved.close()
    if (network := restore.restore(draft, found["kind"]).fingerprint) != found["network"]:
        raise InputError(
            f"{source}: its numbers have the fingerprint {network}, and those that were pushed {found['network']}; "
            "ask whoever pushed it to push it again"
        )
    return card


def _check_arrays(arrays: Any, shapes: Any, source: str) -> None:
    """Raises InputError where arrays are not those of the network that the config builds."""
    for name in sorted({*arrays, *shapes}):
        there = arrays[name].shape if name in arrays else "absent"
        wanted = shapes[name].shape if name in shapes else "absent"
        if there != wanted or (name in arrays and arrays[name].dtype != shapes[name].dtype):
            raise InputError(
                f"{source}: {weights.OURS}: {name!a:.80} is {there}, and {wanted} in the network of its config; was it "
                "pushed by another lcjax?"
            )
