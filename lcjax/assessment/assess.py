"""Estimates accuracy and areas of a map from the labels of its sample, and writes them as tables."""

import csv
import dataclasses
import io
import json
import logging
import pathlib
from typing import Any

import numpy as np

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from lcjax.assessment import design, estimators, labels, map_file
from lcjax.assessment.design import Design
from lcjax.assessment.estimators import Accuracy, Estimate, Labelled, Strata
from lcjax.assessment.labels import Labels
from lcjax.assessment.points_files import CANNOT_SAY

_log = logging.getLogger(__name__)

RESULT, CLASSES, MATRIX, PAGE = "assessment.json", "accuracy.csv", "error_matrix.csv", "index.html"
_VERSION = 1
_FEW = 10  # labelled points of a class, or of a stratum, below which normal intervals are too short


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What is known of a map.

    Attributes:
      design: of the sample.
      labels: of its points.
      source: the file that they were read from.
      accuracy: what is estimated from them.
      unlabelled: overall accuracy if all "cannot say" points were errors, and if all were right; None without any.
      notes: what a reader must know, one line each.
    """

    design: Design
    labels: Labels
    source: str
    accuracy: Accuracy
    unlabelled: tuple[float, float] | None
    notes: tuple[str, ...]


def assess(source: pathlib.Path, design_file: pathlib.Path, map_path: pathlib.Path | None = None) -> Assessment:
    """Estimates accuracy and areas.

    Args:
      source: the labels, CSV or GeoPackage.
      design_file: design.json of the sample.
      map_path: the map, to be compared with the one that was sampled; None takes it from where it was then.

    Raises:
      InputError: a file cannot be read, they are not of one sample, or a stratum has too few labels.
    """
    drawn = design.read(design_file)
    notes = []
    there = map_path or pathlib.Path(drawn.map.path)
    if map_path is None and not there.exists():
        notes.append(f"The map is no longer at {there}; that it is the one that was sampled was not looked at.")
    else:
        legend = drawn.asked.get("legend")
        map_file.check(drawn, there, pathlib.Path(legend) if isinstance(legend, str) else None, design_file)
    read = labels.read(source, drawn)
    _check_enough(read, drawn, source)
    accuracy = estimators.estimate(_labelled(drawn, read.classes), _strata(drawn), len(drawn.classes))
    notes += _notes_of_labels(drawn, read) + _notes_of_counts(drawn, accuracy)
    return Assessment(drawn, read, str(source), accuracy, _bounds(drawn, read), tuple(notes))


def _strata(drawn: Design) -> Strata:
    return Strata(*(np.array([getattr(one, name) for one in drawn.strata]) for name in ("pixels", "area")))


def _labelled(drawn: Design, seen: dict[int, int]) -> Labelled:
    """Returns the points with a label by their indices."""
    strata = {one.value: at for at, one in enumerate(drawn.strata)}
    classes = {one.value: at for at, one in enumerate(drawn.classes)}
    points = [point for point in drawn.points if point.point in seen]
    return Labelled(
        np.array([strata[point.stratum] for point in points]),
        np.array([classes[point.mapped] for point in points]),
        np.array([classes[seen[point.point]] for point in points]),
        np.array([point.area for point in points]),
    )


def _bounds(drawn: Design, read: Labels) -> tuple[float, float] | None:
    """Returns overall accuracy if the map is wrong, and if it is right, wherever people could not say."""
    if not read.cannot_say:
        return None
    mapped = {point.point: point.mapped for point in drawn.points}
    seen = read.classes | {point: mapped[point] for point in read.cannot_say}
    everything, hidden = _labelled(drawn, seen), set(read.cannot_say)
    unknown = np.array([point.point in hidden for point in drawn.points if point.point in seen])
    agree = everything.mapped == everything.reference
    worst, best = (estimators.overall(everything, _strata(drawn), one).value for one in (agree & ~unknown, agree))
    return worst, best


def _check_enough(read: Labels, drawn: Design, source: pathlib.Path) -> None:
    numbers = dict.fromkeys((one.value for one in drawn.strata), 0)
    for point in drawn.points:
        numbers[point.stratum] += point.point in read.classes
    for one in drawn.strata:
        if numbers[one.value] < min(2, one.pixels):
            raise InputError(
                f"{source}: {numbers[one.value]} of {one.points} points of the stratum {one.name} have a label; "
                "expected at least two of each stratum, or nothing can be said of how sure the figures are; label more "
                "points, in the order of their numbers"
            )


def _notes_of_labels(drawn: Design, read: Labels) -> list[str]:
    """What a reader must know of the labels, and what the estimate makes of those that are not there."""
    total, notes = len(drawn.points), []
    if read.open:
        first = labels.beginning(read)
        how = (
            f"They are the last of a random order, so the {first:,} before them are a sample of their own."
            if first is not None
            else "The estimate takes those that were labelled for a random part of their strata; label the points in "
            "the order of their numbers, and they are."
        )
        lacking = f", {len(read.missing):,} of them not in the file" if read.missing else ""
        notes.append(f"{len(read.open):,} of {total:,} points are not labelled yet{lacking}. {how}")
    if read.cannot_say:
        notes.append(
            f"At {len(read.cannot_say):,} points it was {CANNOT_SAY!r}. They are left out, as if they were a random "
            "part of their strata, which they seldom are: what is hard to see is often what maps get wrong."
        )
    for why, pixels in drawn.left_out.items():
        notes.append(f"{pixels:,} pixels of the map are {why}: they are no part of any figure here.")
    return [*notes, f"Training data: {drawn.training}."]


def _notes_of_counts(drawn: Design, accuracy: Accuracy) -> list[str]:
    """What a reader must know where few points tell of a class, or all the same."""
    notes = []
    seen = dict(zip((one.name for one in drawn.classes), accuracy.counts.sum(0).tolist(), strict=True))
    if never := [name for name, count in seen.items() if not count]:
        notes.append(
            f"No point was seen to be {', '.join(never)}: an area of 0 is what so few points show, no certainty."
        )
    if few := [f"{name} ({count})" for name, count in seen.items() if 0 < count < _FEW]:
        notes.append(
            f"Fewer than {_FEW} points were seen to be {', '.join(few)}: intervals from so few points are too short."
        )
    sure = [
        one.name
        for one, of_class, of_mapped in zip(drawn.classes, accuracy.users, accuracy.counts.sum(1), strict=True)
        if of_class and of_class.standard_error < 1e-9 and one.pixels > of_mapped
    ]
    if sure:
        notes.append(
            f"All points mapped as {', '.join(sure)} were alike, right or wrong, so the interval has no width. That is "
            "no certainty: where none of n points is wrong, up to 3/n of the area may be (Hanley & Lippman-Hand 1983)."
        )
    return notes


# ---- as files -------------------------------------------------------------------------------------------------------


def tables(found: Assessment) -> dict[str, str]:
    """Returns the result as files: name -> text of assessment.json, accuracy.csv and error_matrix.csv."""
    rows = class_rows(found)
    fields = schema_version.stamp(_fields(found, rows), _VERSION)
    names = [one.name for one in found.design.classes]
    matrix = [[name, *row] for name, row in zip(names, found.accuracy.matrix.tolist(), strict=True)]
    return {
        RESULT: json.dumps(fields, indent=1) + "\n",
        CLASSES: _csv([list(rows[0]), *(list(row.values()) for row in rows)]),
        MATRIX: _csv([["map \\ label", *names], *matrix]),
    }


def class_rows(found: Assessment) -> list[dict[str, Any]]:
    """Returns a row for each class: areas in the unit of the design, accuracies from 0 to 1, None where undefined."""
    accuracy, area = found.accuracy, found.design.area
    rows = []
    for at, one in enumerate(found.design.classes):
        share = accuracy.areas[at]
        rows.append(
            {
                "id": one.value,
                "name": one.name,
                "points_mapped": int(accuracy.counts[at].sum()),
                "points_seen": int(accuracy.counts[:, at].sum()),
                f"mapped_{found.design.unit}": one.area,
                f"estimated_{found.design.unit}": area * share.value,
                "estimated_low": area * share.interval[0],
                "estimated_high": area * share.interval[1],
                **_columns("users_accuracy", accuracy.users[at]),
                **_columns("producers_accuracy", accuracy.producers[at]),
            }
        )
    return rows


def _columns(name: str, one: Estimate | None) -> dict[str, float | None]:
    low, high = one.interval if one else (None, None)
    return {name: one.value if one else None, f"{name}_low": low, f"{name}_high": high}


def _fields(found: Assessment, rows: list[dict[str, Any]]) -> dict[str, Any]:
    overall, drawn = found.accuracy.overall, found.design
    return {
        "map": {"path": drawn.map.path, "fingerprint": drawn.map.fingerprint},
        "labels": {
            "file": found.source,
            "points": len(drawn.points),
            "labelled": len(found.labels.classes),
            "cannot_say": len(found.labels.cannot_say),
            "not_labelled": len(found.labels.open),
        },
        "strata": "classes of the map" if not drawn.strata_path else drawn.strata_path,
        "unit": drawn.unit,
        "area": drawn.area,
        "confidence": estimators.CONFIDENCE,
        "overall_accuracy": {
            "value": overall.value,
            "standard_error": overall.standard_error,
            "low": overall.interval[0],
            "high": overall.interval[1],
            "if_cannot_say_is_wrong_and_right": found.unlabelled,
        },
        "classes": [
            {
                **row,
                "area_share": found.accuracy.areas[at].value,
                "area_share_standard_error": found.accuracy.areas[at].standard_error,
            }
            for at, row in enumerate(rows)
        ],
        "matrix": found.accuracy.matrix.tolist(),
        "counts": found.accuracy.counts.tolist(),
        "notes": list(found.notes),
    }


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow("" if value is None else f"{value:.6f}" if isinstance(value, float) else value for value in row)
    return text.getvalue()


def summary(found: Assessment) -> str:
    """Formats the result as text for the terminal."""
    overall, unit = found.accuracy.overall, found.design.unit
    cells = [("class", f"mapped {unit}", f"estimated {unit}", "+-", "user's", "+-", "producer's", "+-")]
    area = found.design.area
    for at, one in enumerate(found.design.classes):
        share = found.accuracy.areas[at]
        shown = (f"{one.area:,.1f}", f"{area * share.value:,.1f}", f"{area * share.half_width:,.1f}")
        cells.append((one.name, *shown, *_two(found.accuracy.users[at]), *_two(found.accuracy.producers[at])))
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(width[0]), *(cell.rjust(size) for cell, size in zip(row[1:], width[1:], strict=True))])
        for row in cells
    ]
    told = (
        f"overall accuracy {overall.value:.3f} +- {overall.half_width:.3f} (95 %), {len(found.labels.classes):,} points"
    )
    if found.unlabelled:
        worst, best = found.unlabelled
        told += f"; {worst:.3f} to {best:.3f} if those where people could not say were all wrong or all right"
    return "\n".join([told, *lines, *found.notes])


def _two(one: Estimate | None) -> tuple[str, str]:
    return (f"{one.value:.3f}", f"{one.half_width:.3f}") if one else ("-", "-")
