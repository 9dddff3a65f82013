"""Figures of `benchmark` side by side: how much faster one is than another, and how sure that is."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError

_REMEDY = "give files that `lcjax benchmark --json=FILE` wrote"
# What makes a ratio one of something else than speed, where it differs.
_SAME = ("model", "task", "precision", "batch_size", "devices", "device", "jax")


@dataclasses.dataclass(frozen=True)
class Times:
    """Milliseconds of one call."""

    median: typed_json.Positive
    p10: typed_json.Positive
    p90: typed_json.Positive


@dataclasses.dataclass(frozen=True)
class Figures:
    """What is compared of a file; what else it holds is left alone."""

    what: str
    model: str
    task: str
    precision: str
    device: str
    devices: typed_json.Ordinal
    jax: str
    batch_size: typed_json.Ordinal
    images_per_second: typed_json.Positive
    step_ms: Times
    noisy: bool = False


def read(path: pathlib.Path) -> Figures:
    """The figures of a file. Raises InputError for what is none."""
    fields = typed_json.parse(typed_json.content(path, _REMEDY), path, _REMEDY)
    return typed_json.convert(fields, Figures, path, _REMEDY, foreign=True)


def compare(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """A row for each file; "ratio" is its images per second over those of the first.

    "low" and "high" are the ratio where the times of both lie at the far ends of the middle eight tenths; where 1 lies
    between them, the two are not told apart.

    Raises:
      InputError: a file is none of `benchmark`, there is one alone, or training stands beside inference.
    """
    if len(paths) < 2:
        raise InputError(f"--compare: {len(paths)} file; expected two or more, e.g. --compare=before.json,after.json")
    found = [read(path) for path in paths]
    first = found[0]
    for path, other in zip(paths[1:], found[1:], strict=True):
        if other.what != first.what:
            raise InputError(f"{path}: {other.what}, and {paths[0]} is of {first.what}; expected the same of both")
    return [_row(path, one, first) for path, one in zip(paths, found, strict=True)]


def _row(path: pathlib.Path, one: Figures, first: Figures) -> dict[str, Any]:
    def rate(figures: Figures, milliseconds: float) -> float:
        return figures.batch_size / milliseconds

    own, theirs = one.step_ms, first.step_ms
    return {
        "file": str(path),
        "median_ms": own.median,
        "images_per_second": one.images_per_second,
        "ratio": rate(one, own.median) / rate(first, theirs.median),
        "low": rate(one, own.p90) / rate(first, theirs.p10),
        "high": rate(one, own.p10) / rate(first, theirs.p90),
        "noisy": one.noisy,
        "other": {name: getattr(one, name) for name in _SAME if getattr(one, name) != getattr(first, name)},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows, to read."""
    width = max(len(row["file"]) for row in rows)
    lines = [f"{'':{width}}  {'median ms':>10}  {'images/s':>9}  {'ratio':>6}  {'low to high':>14}"]
    for row in rows:
        span = f"{row['low']:.2f} to {row['high']:.2f}"
        notes = [f"{name}={value}" for name, value in row["other"].items()] + ["noisy"] * row["noisy"]
        line = f"{row['file']:{width}}  {row['median_ms']:10.2f}  {row['images_per_second']:9.2f}  {row['ratio']:6.2f}"
        lines.append(f"{line}  {span:>14}  {', '.join(notes)}".rstrip())
    if any(row["low"] <= 1 <= row["high"] for row in rows[1:]):
        lines.append("where 1 lies between low and high, times vary more than they differ: measure again, by turns")
    return "\n".join(lines)
