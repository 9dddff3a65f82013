"""Every data set that `prepare`, the loader and the tasks know, by name."""

import dataclasses
import re

from data_pipelines.datasets.dfc2020.builder import DFC2020
from data_pipelines.datasets.flair1.builder import FLAIR1
from data_pipelines.datasets.rasters.family import RASTERS
from data_pipelines.datasets.sample.builder import SAMPLE
from data_pipelines.datasets.sen12ms.builder import SEN12MS
from data_pipelines.schema import plugins
from data_pipelines.schema.band_selection import chosen
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend, named
from data_pipelines.schema.spec import DatasetFamily, DatasetSpec, Vector

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (SEN12MS, DFC2020, FLAIR1, SAMPLE)}
FAMILIES: dict[str, DatasetFamily] = {family.name: family for family in (RASTERS,)}
REGISTRY = plugins.Registry("config.dataset", "lcjax.datasets", DATASETS)
LEGENDS: dict[str, Legend] = {legend.name: legend for spec in DATASETS.values() for legend in spec.legends}

# A plug-in's name becomes a folder and the prefix of files; a slash is what TFDS puts before a config.
_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?")


def check(name: str) -> None:
    """Looks whether there is a data set of a name, and imports nothing.

    Raises:
      InputError: nothing has this name, or it may not be imported.
    """
    first, slash, rest = name.partition("/")
    if first in FAMILIES:
        if slash and not re.fullmatch(r"[A-Za-z0-9_-]+", rest):
            raise InputError(
                f"data set {name!r}: expected letters, digits, _ and - after the slash, e.g. {first}/my_town"
            )
    elif name not in DATASETS:
        if ":" not in name and name not in (known := REGISTRY.names()):
            expected = ", ".join([*sorted(known), *(f"{family}/NAME (your own imagery)" for family in FAMILIES)])
            raise InputError(f"data set {name!r} is unknown; expected one of {expected}, or package.module:attribute")
        REGISTRY.check(name)


def entry(name: str) -> DatasetSpec | DatasetFamily:
    """Returns what a data set declares of itself, before any of its files is looked at.

    Args:
      name: one of `DATASETS`, a name such as "rasters/town" of one of `FAMILIES`, or a plug-in
        (data_pipelines/schema/plugins.py) whose value is a `DatasetSpec`.

    Raises:
      InputError: as `check`, or what has this name is no data set.
    """
    check(name)
    first = name.partition("/")[0]
    if first in FAMILIES:
        return dataclasses.replace(FAMILIES[first], name=name)
    return DATASETS[name] if name in DATASETS else _checked(name, REGISTRY.find(name))


def _checked(name: str, found: object) -> DatasetSpec:
    """Returns a plug-in's value. Raises InputError where it cannot stand beside the built-in data sets."""
    if not isinstance(found, DatasetSpec):
        raise InputError(
            f"data set {name!r}: found {type(found).__name__}, expected a data_pipelines.schema.spec.DatasetSpec"
        )
    if not _NAME.fullmatch(found.name) or found.name in DATASETS or found.name.partition("/")[0] in FAMILIES:
        raise InputError(
            f"data set {name!r}: calls itself {found.name!r}, which names the folder of what is prepared; expected "
            f"letters, digits, _ and -, and none of {', '.join((*DATASETS, *FAMILIES))}"
        )
    return found


def vectors(name: str) -> tuple[Vector, ...]:
    """Returns what is stored of a data set beside its images. Raises InputError as `entry`."""
    return entry(name).vectors


def dataset(name: str, *, legend: str = "", bands: str = "all") -> DatasetSpec:
    """Returns the description of a data set that is known before it is prepared, with these bands and this legend.

    Raises:
      InputError: as `entry`; for a data set whose files alone tell its sensors; for bands and legends that it does not
        have.
    """
    spec = entry(name)
    if isinstance(spec, DatasetFamily):
        raise InputError(f"data set {name!r}: its sensors and classes are known once it is prepared: open what was")
    return dataclasses.replace(
        spec, sensors=chosen(spec.sensors, bands), legends=(named(spec.legends, legend),) if legend else spec.legends
    )
