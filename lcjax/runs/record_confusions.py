"""The confusion counts of each record of an evaluation: what intervals and scores by place are made of.

They lie in record_confusions.npz beside metrics.json, whose scores are those of their sum.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.runs import checksums, evaluations, npz_files

_KINDS = {
    "ids": "U",
    "groups": "U",
    "bounds": "float64",
    "confusion": "uint32",
    "other": "uint32",
    "ignored": "uint32",
}


@dataclasses.dataclass(frozen=True, eq=False)
class RecordConfusions:
    """R records of N classes, in the order of the split.

    Attributes:
      ids: (R,) text.
      groups: (R,) text: the scene, zone or area of each record; empty where that is not known.
      bounds: (R, 4) float64: west, south, east and north in degrees on WGS84; NaN where they are not known. West is
        larger than east where a record lies across the antimeridian.
      confusion: (R, N, N) uint32: pixels, rows = truth, columns = prediction.
      other: (R, N) uint32: pixels of each class that were taken for none of the N.
      ignored: (R,) uint32: pixels that are not scored.
    """

    ids: np.ndarray
    groups: np.ndarray
    bounds: np.ndarray
    confusion: np.ndarray
    other: np.ndarray
    ignored: np.ndarray


def fits(records: int, classes: int) -> bool:
    """Whether so many records of so many classes may be kept."""
    return records * classes**2 * 4 < limits.CONFUSIONS_BYTES


def write(folder: pathlib.Path, records: RecordConfusions) -> None:
    """Writes record_confusions.npz, within `evaluations.sealed`."""
    npz_files.write(folder / evaluations.RECORDS, dataclasses.asdict(records))


def read(folder: pathlib.Path, fields: Mapping[str, Any]) -> RecordConfusions | None:
    """Reads record_confusions.npz of the folder of an evaluation; None where it was made without them.

    Args:
      folder: WORKDIR/evaluation/ROLE.
      fields: of its metrics.json, by `evaluations.read` with `of_classes`.

    Raises:
      InputError: the file is not what was written, or is not of these scores.
    """
    path, remedy = folder / evaluations.RECORDS, evaluations.again(folder)
    if not path.exists() or not checksums.covers(folder, path.name):
        return None
    arrays = npz_files.read(path, list(_KINDS), "counts of records", limits.CONFUSIONS_BYTES, remedy)
    count, classes = len(arrays["ids"]) if arrays["ids"].ndim else 0, len(fields["class_set"])
    shapes = {
        "ids": (count,),
        "groups": (count,),
        "bounds": (count, 4),
        "confusion": (count, classes, classes),
        "other": (count, classes),
        "ignored": (count,),
    }
    for name, shape in shapes.items():
        found = arrays[name]
        kind = found.dtype.kind if _KINDS[name] == "U" else found.dtype.name
        if (kind, found.shape) != (_KINDS[name], shape):
            raise InputError(
                f"{path}: {name}: found {found.dtype.name} of shape {found.shape}, expected {_KINDS[name]} of shape "
                f"{shape}; {remedy}"
            )
    _check_bounds(arrays["bounds"], f"{path}: bounds", remedy)
    total = arrays["confusion"].sum(axis=0, dtype=np.int64).tolist()
    others = arrays["other"].sum(axis=0, dtype=np.int64).tolist()
    if (count, total, others) != (
        fields["records"],
        fields["confusion"],
        fields.get("predicted_other", [0] * classes),
    ):
        raise InputError(f"{path}: its counts do not add up to those of {evaluations.METRICS}; {remedy}")
    return RecordConfusions(**arrays)


def _check_bounds(bounds: np.ndarray, where: str, remedy: str) -> None:
    known = bounds[~np.isnan(bounds).any(axis=1)]
    west, south, east, north = known.T
    right = (np.abs([west, east]) <= 180).all() and (np.abs([south, north]) <= 90).all() and (south <= north).all()
    if not right:
        raise InputError(f"{where}: found others than west, south, east and north in degrees; {remedy}")
