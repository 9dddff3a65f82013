"""Every data set that `prepare` and the loader know, by name."""

import dataclasses
import re

from data_pipelines.datasets.dfc2020.builder import DFC2020
from data_pipelines.datasets.flair1.builder import FLAIR1
from data_pipelines.datasets.sample.builder import SAMPLE
from data_pipelines.datasets.sen12ms.builder import SEN12MS
from data_pipelines.schema.band_selection import chosen
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend, named
from data_pipelines.schema.spec import DatasetSpec, Vector

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (SEN12MS, DFC2020, FLAIR1, SAMPLE)}
LEGENDS: dict[str, Legend] = {legend.name: legend for spec in DATASETS.values() for legend in spec.legends}

# Own imagery, described by a CSV (data_pipelines/rasters): "rasters", or "rasters/NAME" for more than one of them.
RASTERS = "rasters"
RASTERS_VERSION = "1.0.0"


def is_rasters(name: str) -> bool:
    """Whether a data set is own imagery. Raises InputError for a NAME that no folder should have."""
    first, slash, rest = name.partition("/")
    if first == RASTERS and slash and not re.fullmatch(r"[A-Za-z0-9_-]+", rest):
        raise InputError(f"data set {name!r}: expected letters, digits, _ and - after the slash, e.g. rasters/my_town")
    return first == RASTERS


def version(name: str) -> str:
    """The version of a data set. Raises InputError for a name that is not known."""
    return RASTERS_VERSION if is_rasters(name) else dataset(name).version


def vectors(name: str) -> tuple[Vector, ...]:
    """What is stored of a data set beside its images. Raises InputError for a name that is not known."""
    return () if is_rasters(name) else dataset(name).vectors


def dataset(name: str, *, legend: str = "", bands: str = "all") -> DatasetSpec:
    """The description of one published data set, with the bands and the legend that are wanted of it.

    Raises InputError for a name that is not in the table, and for bands and legends that it does not have.
    """
    if name not in DATASETS:
        known = ", ".join([*sorted(DATASETS), f"{RASTERS}/NAME (your own imagery)"])
        raise InputError(f"data set {name!r} is unknown; expected one of {known}")
    spec = DATASETS[name]
    return dataclasses.replace(
        spec, sensors=chosen(spec.sensors, bands), legends=(named(spec.legends, legend),) if legend else spec.legends
    )
