"""What an evaluation leaves in WORKDIR/evaluation/ROLE: scores, matrix and samples, sealed by checksums and read back.

A folder whose files are not what was written gives no numbers: it is refused by name.
"""

import contextlib
import io
import math
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np

from data_pipelines.schema import limits, schema_version, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, LabelId, LabelText, Name, Number
from lcjax.runs import SCHEMA_VERSION, checksums

METRICS, CONFUSION, SAMPLES = "metrics.json", "confusion.csv", "samples.npz"
ELSEWHERE = "score a copy of the workdir"  # where this folder cannot be written, or another process does
_SEALED = (METRICS, CONFUSION, SAMPLES)


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


class PatchCounts(TypedDict):
    """For each class in how many patches it is a label and predicted, predicted alone, a label alone."""

    hits: list[Count]
    wrong: list[Count]
    missed: list[Count]


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
    legend: NotRequired[Name]
    parameters: NotRequired[Count]
    trained_on: NotRequired[str | dict[str, str | int]]
    note: NotRequired[str]
    unknown_classes: NotRequired[dict[Name, Count]]
    predicted_other: NotRequired[list[Count]]
    class_set: NotRequired[Annotated[list[Name], msgspec.Meta(min_length=1, max_length=256)]]
    class_ids: NotRequired[list[LabelId]]
    absent: NotRequired[list[Name]]
    ignored_ids: NotRequired[list[LabelId]]
    pixels: NotRequired[Count]
    ignored_pixels: NotRequired[Count]
    confusion: NotRequired[list[list[Count]]]
    distribution: NotRequired[dict[str, dict[Name, Count]]]
    # Of a run that classifies whole patches.
    labels: NotRequired[Literal["single", "multi"]]
    least_share: NotRequired[Annotated[float, msgspec.Meta(ge=0, le=1)]]
    patches: NotRequired[Count]
    ignored_patches: NotRequired[Count]
    patch_counts: NotRequired[PatchCounts]
    patch_confusion: NotRequired[list[list[Count]]]


_OF_PATCHES = ("class_set", "class_ids", "ignored_ids", "labels", "patches", "patch_counts")
_OF_CLASSES = ("class_set", "class_ids", "ignored_ids", "pixels", "confusion")


@contextlib.contextmanager
def sealed(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes the folder of an evaluation, whose files are written within the context, and notes their checksums.

    An error or a kill within it leaves a folder without checksums, which nothing reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (checksums.FILE, *_SEALED):
        (folder / name).unlink(missing_ok=True)
    yield folder
    checksums.write(folder, [name for name in _SEALED if (folder / name).is_file()])


def read(folder: pathlib.Path, *, of_classes: bool = False) -> dict[str, Any]:
    """Reads metrics.json of the folder of an evaluation.

    Args:
      folder: WORKDIR/evaluation/ROLE.
      of_classes: whether the scores must be of classes of land cover, with their confusion matrix.

    Raises:
      InputError: a file of the folder is not what was written, is missing, or a field is not what it must be.
    """
    again = _again(folder)
    path = folder / METRICS
    fields: Any = schema_version.read_json(path, Fields, SCHEMA_VERSION, again)
    if damage := checksums.damage(folder):
        raise InputError(f"{folder}: {damage}; nothing of it is shown; {again}")
    if not of_classes:
        return dict(fields)
    if missing := [name for name in _OF_CLASSES if name not in fields]:
        raise InputError(f"{path}: {', '.join(missing)}: missing; {again}")
    count = len(fields["class_set"])
    if [len(fields["class_ids"]), len(fields["confusion"]), *map(len, fields["confusion"])] != [count] * (count + 2):
        raise InputError(
            f"{path}: {count} classes in class_set, but {len(fields['class_ids'])} class_ids and a confusion matrix "
            f"of shape {np.shape(fields['confusion']) if _is_regular(fields['confusion']) else 'none'}; {again}"
        )
    if len(other := fields.get("predicted_other", [0] * count)) != count:
        raise InputError(
            f"{path}: predicted_other: {len(other)} numbers, expected one for each of {count} classes; {again}"
        )
    if len(set(fields["class_set"])) < count or len(set(fields["class_ids"])) < count:
        raise InputError(f"{path}: class_set: a class stands there twice, expected each once; {again}")
    return dict(fields)


def read_of_patches(folder: pathlib.Path) -> dict[str, Any]:
    """Reads metrics.json of the folder of an evaluation of whole patches. Raises InputError as `read`."""
    again, path, fields = _again(folder), folder / METRICS, read(folder)
    if missing := [name for name in _OF_PATCHES if name not in fields]:
        raise InputError(f"{path}: {', '.join(missing)}: missing; {again}")
    count = len(fields["class_set"])
    matrix = fields.get("patch_confusion", [[0] * count] * count)
    lengths = [len(fields["class_ids"]), len(matrix), *map(len, matrix), *map(len, fields["patch_counts"].values())]
    if set(lengths) != {count}:
        raise InputError(
            f"{path}: {count} classes in class_set, and numbers of {min(lengths)} to {max(lengths)}; {again}"
        )
    return fields


def _is_regular(rows: list[list[int]]) -> bool:
    return len({len(row) for row in rows}) == 1


def read_samples(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads samples.npz: ids (N,) text, image (N, H, W, 3), truth and prediction (N, H, W) uint8; {} where none is.

    Raises InputError for what is none of that.
    """
    path = folder / SAMPLES
    if not path.exists():
        return {}
    again = _again(folder)
    content = typed_json.content(path, again, "samples of an evaluation", limits.JSON_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name: _array(archive, f"{name}.npy") for name in ("ids", "image", "truth", "prediction")}
    except (ValueError, KeyError, OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path}: not readable samples ({reason}); {again}") from error
    count, *size = arrays["truth"].shape
    wanted = {"ids": (count,), "image": (count, *size, 3), "prediction": (count, *size)}
    kinds = {name: array.dtype.kind if name == "ids" else array.dtype.name for name, array in arrays.items()}
    if len(size) != 2 or kinds != {"ids": "U"} | dict.fromkeys(("image", "truth", "prediction"), "uint8"):
        raise InputError(f"{path}: not readable samples (found arrays of {kinds}, expected text and uint8); {again}")
    if wrong := [name for name, shape in wanted.items() if arrays[name].shape != shape]:
        raise InputError(
            f"{path}: {wrong[0]}: found the shape {arrays[wrong[0]].shape}, expected {wanted[wrong[0]]}; {again}"
        )
    return arrays


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an npz. Raises ValueError where it is larger than it says, or than samples are."""
    size = archive.getinfo(name).file_size
    if size > limits.JSON_BYTES:
        raise ValueError(f"{name}: {size:,} bytes, expected at most {limits.JSON_BYTES:,}")
    stream = io.BytesIO(archive.read(name))
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if dtype.hasobject or dtype.itemsize * math.prod(shape) != size - stream.tell():
        raise ValueError(f"{name}: an array of {shape} {dtype} in {size:,} bytes")
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _again(folder: pathlib.Path) -> str:
    return f"run `lcjax evaluate --workdir={folder.parent.parent}` again"
