"""calibration.json of a workdir: the temperature and the conformal thresholds of its checkpoints, by fingerprint.

The card is written before training and cannot hold them. A checkpoint that is not in the file is not calibrated by
what was fitted to another one: it is refused by name.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

import msgspec

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.typed_json import Count, LabelId, Name, Number
from lcjax.runs import SCHEMA_VERSION

FILE = "calibration.json"
LOWEST, HIGHEST = 1 / 16, 16.0  # temperatures
COVERAGES = tuple(f"0.{hundredths}" for hundredths in range(50, 100))  # of conformal sets
OFF = "--calibration=off"

Temperature = Annotated[float, msgspec.Meta(ge=LOWEST, le=HIGHEST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Coverage = Annotated[str, msgspec.Meta(pattern=r"^0\.[5-9][0-9]\Z")]


class Fitted(TypedDict):
    """The records that a calibration was fitted to."""

    spec: str
    id: str
    records: Count
    pixels: Count


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was fitted to the answers of one checkpoint.

    Attributes:
      kind: of the checkpoint, "best" or "last".
      step: of the checkpoint.
      temperature: by which its logits are divided.
      loss: mean logarithmic loss of the labelled pixels (nats) before and after.
      split: on which it was fitted.
      classes, class_ids: of the network, in order.
      class_pixels: labelled pixels of each class.
      thresholds: coverage ("0.50" to "0.99") -> for each class the least calibrated probability with which it belongs
        to a conformal set.
    """

    kind: Name
    step: Count
    temperature: Temperature
    loss: Annotated[list[Number], msgspec.Meta(min_length=2, max_length=2)]
    split: Fitted
    classes: list[Name]
    class_ids: list[LabelId]
    class_pixels: list[Count]
    thresholds: dict[Coverage, list[Share]]

    @property
    def temperatures(self) -> tuple[float, float]:
        """That of the class map, which calibration leaves as it is, and that of the probabilities that are told."""
        return 1.0, self.temperature

    @property
    def summary(self) -> str:
        """One line for maps and logs."""
        return (
            f"temperature {self.temperature:g}, fitted on {self.split['records']:,} records of {self.split['spec']} "
            f"({self.split['pixels']:,} labelled pixels)"
        )

    @property
    def digest(self) -> str:
        """A short hash of all of it."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class _Fields(TypedDict):
    """What calibration.json holds: fingerprint of a checkpoint -> what was fitted to it."""

    checkpoints: dict[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")], Calibration]


def percent(coverage: float) -> str:
    """The name of a coverage in `Calibration.thresholds`; InputError where it is not 0.5 to 0.99 in whole percents."""
    name = f"{coverage:.2f}"
    if not (0.5 <= coverage <= 0.99 and abs(coverage - float(name)) < 1e-8):
        raise InputError(f"--conformal={coverage:g}: expected a coverage in whole percents from 0.5 to 0.99, e.g. 0.9")
    return name


def write(folder: pathlib.Path, fingerprint: str, fitted: Calibration) -> None:
    """Writes what was fitted to a checkpoint, in place of what there was of its kind; the other kind's stays."""
    kept: dict[str, Calibration] = {}
    with contextlib.suppress(InputError):  # what cannot be read is what this replaces
        kept = {key: one for key, one in (read(folder) or {}).items() if one.kind != fitted.kind}
    _write(folder, kept | {fingerprint: fitted})


def _write(folder: pathlib.Path, table: Mapping[str, Calibration]) -> None:
    fields = {"checkpoints": {key: dataclasses.asdict(one) for key, one in table.items()}}
    path, remedy = folder / FILE, "this is a defect of lcjax"
    # Read before it replaces what is there: numbers that no reader takes must not be written.
    text = json.dumps(schema_version.stamp(fields, SCHEMA_VERSION), indent=1) + "\n"
    _checked(schema_version.decode(text, _Fields, SCHEMA_VERSION, path, remedy)["checkpoints"], path, remedy)
    write_atomically(path, text)
    if read(folder) != table:
        raise InputError(f"{path}: what was written cannot be read back; is the disk full?")


def read(folder: pathlib.Path) -> dict[str, Calibration] | None:
    """Reads calibration.json of a workdir, or of an exported network; None where there is none.

    Raises:
      InputError: it is damaged, or a field is not what it must be.
    """
    path = folder / FILE
    if not path.exists():
        return None
    remedy = f"{make(folder)}, or delete it"
    table = schema_version.read_json(path, _Fields, SCHEMA_VERSION, remedy)["checkpoints"]
    return _checked(table, path, remedy)


def _checked(table: dict[str, Calibration], path: pathlib.Path, remedy: str) -> dict[str, Calibration]:
    """The table, where all coverages are there and all lists are as long as there are classes."""
    for key, one in table.items():
        if missing := [name for name in COVERAGES if name not in one.thresholds]:
            raise InputError(f"{path}: checkpoints[{key!r}].thresholds[{missing[0]!r}]: missing; {remedy}")
        counts = {len(one.classes), len(one.class_ids), len(one.class_pixels), *map(len, one.thresholds.values())}
        if len(counts) > 1:
            raise InputError(
                f"{path}: checkpoints[{key!r}]: lists of {', '.join(map(str, sorted(counts)))} classes; expected all "
                f"of one length; {remedy}"
            )
    return table


def make(folder: pathlib.Path, kind: str = "best") -> str:
    """What makes the calibration of a checkpoint, as advice."""
    of = "" if kind == "best" else f" --checkpoint={kind}"
    return f"run `lcjax evaluate --workdir={folder} --calibrate{of}`"


def of_checkpoint(
    table: Mapping[str, Calibration], folder: pathlib.Path, fingerprint: str, legend: Legend, kind: str, step: int
) -> Calibration:
    """Returns what was fitted to a checkpoint.

    Args:
      table: of `read`.
      folder: the workdir, for messages.
      fingerprint: of the checkpoint.
      legend: of its card.
      kind: of the checkpoint.
      step: of the checkpoint.

    Raises:
      InputError: the file is of other checkpoints, or of another legend.
    """
    path = folder / FILE
    if fingerprint not in table:
        of = (f"the {one.kind} one of step {one.step:,} ({key})" for key, one in table.items())
        there = " and ".join(of) or "none"
        raise InputError(
            f"{path}: is of another checkpoint: found {there}, expected the {kind} one of step {step:,} "
            f"({fingerprint}); {make(folder, kind)}, or go without by {OFF}"
        )
    found = table[fingerprint]
    names, ids = [c.name for c in legend.scored], [c.id for c in legend.scored]
    if (found.classes, found.class_ids) != (names, ids):
        raise InputError(
            f"{path}: is of another legend: found {_listed(found.classes, found.class_ids)}, expected "
            f"{_listed(names, ids)}; {make(folder, kind)}, or go without by {OFF}"
        )
    return found


def _listed(names: Sequence[str], ids: Sequence[Any]) -> str:
    shown = ", ".join(f"{number} {name}" for number, name in zip(ids[:6], names[:6], strict=True))
    return f"{shown}{', ...' if len(ids) > 6 else ''}"
