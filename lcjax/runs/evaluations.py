"""What an evaluation leaves in WORKDIR/evaluation/ROLE: scores, matrix and samples, sealed by checksums and read back.

A folder whose files are not what was written gives no numbers: it is refused by name.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np

from data_pipelines.schema import limits, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, LabelId, LabelText, Name, Number
from lcjax.ops import object_recall
from lcjax.runs import SCHEMA_VERSION, checksums, npz_files
from lcjax.runs.calibration import Fitted, Temperature

METRICS, CONFUSION, SAMPLES = "metrics.json", "confusion.csv", "samples.npz"
RECORDS, PLACES, PLACES_LAYER = "record_confusions.npz", "places.csv", "places.geojson"
ELSEWHERE = "score a copy of the workdir"  # where this folder cannot be written, or another process does
_SEALED = (METRICS, CONFUSION, SAMPLES, RECORDS, PLACES, PLACES_LAYER)


class ScoredSplit(TypedDict):
    """The split that was scored, as the card of the run has it; a classifier of single pixels has no card."""

    role: str
    spec: str
    id: str
    records: NotRequired[Count]
    class_pixels: NotRequired[dict[LabelText, Count]]
    warnings: NotRequired[list[str]]


class Checkpoint(TypedDict):
    """Of whose parameters the scores are."""

    kind: Name
    step: Count


class OtherClasses(TypedDict):
    """Scores of the same network over another class set of its data set."""

    scores: dict[str, Number]
    absent: list[Name]
    pixels: Count
    predicted_other: list[Count]


_Bin = Annotated[list[Number], msgspec.Meta(min_length=3, max_length=3)]
_Bins = Annotated[list[_Bin], msgspec.Meta(min_length=1, max_length=256)]


class Reliability(TypedDict):
    """How far probabilities can be believed (docs/calibration.md); a bin is [pixels, mean probability, true share]."""

    NLL: Number
    ECE: Number
    classwise_ECE: Number
    ECE_of: dict[Name, Number]
    bins: _Bins
    bins_of: dict[Name, _Bins]


class Sets(TypedDict):
    """Conformal sets of a stated coverage: what they reach, by class, their mean size, and how many are empty."""

    stated: Number
    reached: Number
    reached_of: dict[Name, Number]
    classes: Number
    empty: Number


class Calibrated(TypedDict):
    """What a calibration is worth on the records that were scored."""

    temperature: Temperature
    fitted_on: Fitted
    before: Reliability
    after: Reliability
    sets: list[Sets]


class PatchCounts(TypedDict):
    """For each class in how many patches it is a label and predicted, predicted alone, a label alone."""

    hits: list[Count]
    wrong: list[Count]
    missed: list[Count]


class Intervals(TypedDict):
    """How sure the scores are: lcjax/evaluation/intervals.py."""

    level: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    method: str
    draws: Count
    seed: Count
    blocks: Count
    block: str
    notes: list[str]
    scores: dict[str, tuple[Number, Number]]


class Boundary(TypedDict):
    """Boundary IoU, where it was asked for: lcjax/ops/boundary_iou.py."""

    distance: str
    pixels: Count
    scores: dict[str, Number]
    intervals: dict[str, tuple[Number, Number]]


class Objects(TypedDict):
    """Recall of objects by size, where it was asked for: lcjax/ops/object_recall.py."""

    edges: Annotated[list[Count], msgspec.Meta(min_length=1, max_length=object_recall.MOST_EDGES)]
    found_from: Number
    counts: dict[Name, list[tuple[Count, Count]]]
    scores: dict[str, Number]
    intervals: dict[str, tuple[Number, Number]]
    pixel_hectares: NotRequired[Number]


class Fields(TypedDict):
    """What metrics.json holds; of a run that maps nothing, only the first ones."""

    run: Name
    model: Name
    fusion: str
    init: str
    freeze: str
    dataset: Name
    records: Count
    split: ScoredSplit
    checkpoint: Checkpoint | None
    scores: dict[str, Number]
    bands: NotRequired[str]
    scaling: NotRequired[str]
    metadata: NotRequired[bool]
    recipe: NotRequired[str]
    cell: NotRequired[str]
    resize: NotRequired[Count]
    protocol: NotRequired[str]
    legend: NotRequired[Name]
    parameters: NotRequired[Count]
    trained_on: NotRequired[str | dict[str, str | int]]
    note: NotRequired[str]
    unknown_classes: NotRequired[dict[Name, Count]]
    predicted_other: NotRequired[list[Count]]
    class_set: NotRequired[Annotated[list[Name], msgspec.Meta(min_length=1, max_length=256)]]
    class_ids: NotRequired[list[LabelId]]
    class_sets: NotRequired[dict[Name, OtherClasses]]
    absent: NotRequired[list[Name]]
    ignored_ids: NotRequired[list[LabelId]]
    pixels: NotRequired[Count]
    ignored_pixels: NotRequired[Count]
    confusion: NotRequired[list[list[Count]]]
    distribution: NotRequired[dict[str, dict[Name, Count]]]
    calibration: NotRequired[Calibrated]
    # Of a run that classifies whole patches.
    labels: NotRequired[Literal["single", "multi"]]
    least_share: NotRequired[Annotated[float, msgspec.Meta(ge=0, le=1)]]
    patches: NotRequired[Count]
    ignored_patches: NotRequired[Count]
    patch_counts: NotRequired[PatchCounts]
    patch_confusion: NotRequired[list[list[Count]]]
    intervals: NotRequired[Intervals]
    boundary: NotRequired[Boundary]
    objects: NotRequired[Objects]


_OF_PATCHES = ("class_set", "class_ids", "ignored_ids", "labels", "patches", "patch_counts")
_OF_CLASSES = ("class_set", "class_ids", "ignored_ids", "pixels", "confusion")


@contextlib.contextmanager
def sealed(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes the folder of an evaluation, whose files are written within the context, notes their checksums, reads back.

    An error or a kill within it leaves a folder without checksums, which nothing reads.

    Raises:
      InputError: what was written cannot be read as `read` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (checksums.FILE, *_SEALED):
        (folder / name).unlink(missing_ok=True)
    yield folder
    checksums.write(folder, [name for name in _SEALED if (folder / name).is_file()])
    fields = read(folder)
    if "patch_counts" in fields:
        _check_patches(fields, folder)
    elif "confusion" in fields:
        _check_classes(fields, folder)


def read(folder: pathlib.Path, *, of_classes: bool = False) -> dict[str, Any]:
    """Reads metrics.json of the folder of an evaluation.

    Args:
      folder: WORKDIR/evaluation/ROLE.
      of_classes: whether the scores must be of classes of land cover, with their confusion matrix.

    Raises:
      InputError: a file of the folder is not what was written, is missing, or a field is not what it must be.
    """
    remedy = again(folder)
    fields: Any = schema_version.read_json(folder / METRICS, Fields, SCHEMA_VERSION, remedy)
    if damage := checksums.damage(folder):
        raise InputError(f"{folder}: {damage}; nothing of it is shown; {remedy}")
    if of_classes:
        _check_classes(fields, folder)
    return dict(fields)


def read_of_patches(folder: pathlib.Path) -> dict[str, Any]:
    """Reads metrics.json of the folder of an evaluation of whole patches. Raises InputError as `read`."""
    fields = read(folder)
    _check_patches(fields, folder)
    return fields


def _check_classes(fields: dict[str, Any], folder: pathlib.Path) -> None:
    """Raises InputError where scores are not of classes of land cover, with a number or a row for each."""
    path, remedy = folder / METRICS, again(folder)
    if missing := [name for name in _OF_CLASSES if name not in fields]:
        raise InputError(f"{path}: {', '.join(missing)}: missing; {remedy}")
    count = len(fields["class_set"])
    if [len(fields["class_ids"]), len(fields["confusion"]), *map(len, fields["confusion"])] != [count] * (count + 2):
        raise InputError(
            f"{path}: {count} classes in class_set, but {len(fields['class_ids'])} class_ids and a confusion matrix "
            f"of shape {np.shape(fields['confusion']) if _is_regular(fields['confusion']) else 'none'}; {remedy}"
        )
    if len(other := fields.get("predicted_other", [0] * count)) != count:
        raise InputError(
            f"{path}: predicted_other: {len(other)} numbers, expected one for each of {count} classes; {remedy}"
        )
    if problem := _unlike_objects(fields):
        raise InputError(f"{path}: {problem}; {remedy}")
    if "calibration" in fields:
        _check_calibration(fields["calibration"], fields["class_set"], path, remedy)
    if len(set(fields["class_set"])) < count or len(set(fields["class_ids"])) < count:
        raise InputError(f"{path}: class_set: a class stands there twice, expected each once; {remedy}")


def _check_patches(fields: dict[str, Any], folder: pathlib.Path) -> None:
    """Raises InputError where scores are not of whole patches, with a number or a row for each class."""
    path, remedy = folder / METRICS, again(folder)
    if missing := [name for name in _OF_PATCHES if name not in fields]:
        raise InputError(f"{path}: {', '.join(missing)}: missing; {remedy}")
    count = len(fields["class_set"])
    matrix = fields.get("patch_confusion", [[0] * count] * count)
    lengths = [len(fields["class_ids"]), len(matrix), *map(len, matrix), *map(len, fields["patch_counts"].values())]
    if set(lengths) != {count}:
        raise InputError(
            f"{path}: {count} classes in class_set, and numbers of {min(lengths)} to {max(lengths)}; {remedy}"
        )


def _unlike_objects(fields: Any) -> str:
    """What of the counts of objects does not fit their size classes; or nothing."""
    objects = fields.get("objects")
    if not objects:
        return ""
    wanted = len(objects["edges"]) + 1
    rows = {name: len(rows) for name, rows in objects["counts"].items()}
    if set(rows) != set(fields["class_set"]) or set(rows.values()) != {wanted}:
        return f"objects.counts: found counts of {rows}, expected {wanted} of each class"
    return ""


def _check_calibration(calibration: Calibrated, names: list[str], path: pathlib.Path, remedy: str) -> None:
    """Raises InputError where it does not tell of each class, before and after, in as many bins."""
    count = len(calibration["before"]["bins"])
    for when, of in (("before", calibration["before"]), ("after", calibration["after"])):
        for field, found in (("ECE_of", list(of["ECE_of"])), ("bins_of", list(of["bins_of"]))):
            if set(found) != set(names):
                told = ", ".join(found[:6]) or "none"
                raise InputError(
                    f"{path}: calibration.{when}.{field}: found {told}; expected each class of class_set; {remedy}"
                )
        lengths = {len(of["bins"]), *map(len, of["bins_of"].values())}
        if lengths != {count}:
            raise InputError(
                f"{path}: calibration.{when}: diagrams of {', '.join(map(str, sorted(lengths)))} bins; expected "
                f"{count} in each; {remedy}"
            )
    for place, one in enumerate(calibration["sets"]):
        if unknown := sorted(set(one["reached_of"]) - set(names)):
            raise InputError(
                f"{path}: calibration.sets[{place}].reached_of: found {unknown[0]}; expected classes of class_set; "
                f"{remedy}"
            )


def _is_regular(rows: list[list[int]]) -> bool:
    return len({len(row) for row in rows}) == 1


def read_samples(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads samples.npz: ids (N,) text, image (N, H, W, 3), truth and prediction (N, H, W) uint8; {} where none is.

    Networks also leave their confidence (N, H, W) uint8. Raises InputError for what is none of that.
    """
    path = folder / SAMPLES
    if not path.exists():
        return {}
    remedy = again(folder)
    names = ("ids", "image", "truth", "prediction")
    arrays = npz_files.read(path, names, "samples", limits.JSON_BYTES, remedy, may_lack=("confidence",))
    count, *size = arrays["truth"].shape
    wanted = {"ids": (count,), "image": (count, *size, 3), "prediction": (count, *size)}
    wanted |= {"confidence": (count, *size)} if "confidence" in arrays else {}
    kinds = {name: array.dtype.kind if name == "ids" else array.dtype.name for name, array in arrays.items()}
    if len(size) != 2 or kinds != {"ids": "U"} | dict.fromkeys(arrays.keys() - {"ids"}, "uint8"):
        raise InputError(f"{path}: not readable samples (found arrays of {kinds}, expected text and uint8); {remedy}")
    if wrong := [name for name, shape in wanted.items() if arrays[name].shape != shape]:
        raise InputError(
            f"{path}: {wrong[0]}: found the shape {arrays[wrong[0]].shape}, expected {wanted[wrong[0]]}; {remedy}"
        )
    return arrays


def again(folder: pathlib.Path) -> str:
    """What to do about the folder of an evaluation that cannot be read."""
    return f"run `lcjax evaluate --workdir={folder.parent.parent}` again"
