"""Every data set that `prepare` and the loader know, by name."""

import dataclasses

from data_pipelines.dfc2020.builder import DFC2020
from data_pipelines.errors import InputError
from data_pipelines.spec import DatasetSpec

SAMPLE = dataclasses.replace(
    DFC2020,
    name="sample",
    title="Synthetic landscapes in the layout of SEN12MS and DFC2020, for trials and tests",
    licence="Apache-2.0",
    homepage="",
    citation="",
)
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (DFC2020, SAMPLE)}


def dataset(name: str) -> DatasetSpec:
    """The description of one data set. Raises InputError for a name that is not in the table."""
    if name not in DATASETS:
        raise InputError(f"data set {name!r} is unknown; expected one of {', '.join(sorted(DATASETS))}")
    return DATASETS[name]
