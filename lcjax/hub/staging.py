"""What is pushed of a run: its network as arrays with its card, its config, its calibration, and a card for people."""

import dataclasses
import json
import logging
import pathlib
from typing import Any

import jax
import numpy as np

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.engine import restore
from lcjax.export import weights
from lcjax.hub import manifest, plain_paths, readme
from lcjax.runs import SCHEMA_VERSION, calibration, evaluations, model_card, workdir
from lcjax.weights import files

_log = logging.getLogger(__name__)


def write(folder: pathlib.Path, out: pathlib.Path, kind: manifest.Kind, address: str, licence: str) -> None:
    """Writes what is pushed of a run, and reads the arrays and the manifest back.

    Args:
      folder: the workdir.
      out: an empty folder.
      kind: of the checkpoint.
      address: ORG/NAME of the repository.
      licence: its identifier on the hub.

    Raises:
      InputError: there is no such network, or what lies beside it is damaged.
    """
    trained = restore.restore(folder, kind)
    fields, card = plain_paths.of_config(workdir.read_fields(folder)), plain_paths.of_card(trained.card)
    write_atomically(out / workdir.CONFIG, _json(fields))
    write_atomically(out / model_card.FILE, card.to_json())
    plain = dataclasses.replace(trained, card=card)
    weights.write(out, weights.files(plain, weights.wanted(True, ""), str(folder)))
    _read_back(out / weights.OURS, trained)
    calibrated = _write_calibration(trained, folder, out, kind)
    checkpoint = {"kind": kind, "step": trained.step}
    scored = _evaluations(folder, checkpoint)
    if not scored:
        _log.warning(
            f"{folder}: the {kind} checkpoint of step {trained.step} was scored on no split, and its card has no "
            f"scores; first run `lcjax evaluate --workdir={folder} --checkpoint={kind}` to have them"
        )
    text = readme.text(
        address, licence, card, fields, checkpoint, list(map(plain_paths.of_evaluation, scored)), calibrated
    )
    write_atomically(out / manifest.README, text)
    run = workdir.name_of(folder)
    about = manifest.About(run=run, licence=licence, network=trained.fingerprint, kind=kind, step=trained.step)
    manifest.write(out, about)
    manifest.read(out / manifest.FILE, str(folder))


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(schema_version.stamp(fields, SCHEMA_VERSION), indent=1, sort_keys=True) + "\n"


def _read_back(path: pathlib.Path, trained: restore.Trained) -> None:
    """Raises InputError where a file does not hold the arrays of the network."""
    there, wanted = files.read(path).arrays, jax.device_get(trained.parameters | trained.statistics)
    if there.keys() != wanted.keys() or not all(np.array_equal(there[name], wanted[name]) for name in wanted):
        raise InputError(f"{path}: what was written cannot be read back; is the disk full?")


def _write_calibration(trained: restore.Trained, folder: pathlib.Path, out: pathlib.Path, kind: manifest.Kind) -> str:
    """Writes what was fitted to this checkpoint, and returns a line about it; "" where nothing was."""
    table = calibration.read(folder) or {}
    if trained.fingerprint not in table:
        return ""
    fitted = trained.calibration(table, folder, kind)
    plain = dataclasses.replace(fitted, split=plain_paths.of_split(fitted.split))
    calibration.write(out, trained.fingerprint, plain)
    return plain.summary


def _evaluations(folder: pathlib.Path, checkpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """metrics.json of all that was scored of this checkpoint. Raises InputError for one that is damaged."""
    found = []
    for path in sorted(folder.glob(f"evaluation/*/{evaluations.METRICS}")):
        fields = evaluations.read(path.parent)
        if fields["checkpoint"] == checkpoint:
            found.append(fields)
    return found
