"""The sample as a data set of its own: DFC2020's labelled splits and the pairs of SEN12MS, in one."""

import pathlib
from collections.abc import Sequence

from data_pipelines.datasets import contest_layout, sentinel_layout
from data_pipelines.datasets.contest_legend import DFC2020 as LEGEND
from data_pipelines.schema import sensors
from data_pipelines.schema.spec import DatasetSpec, Item

_PAIRS = sentinel_layout.names(sentinel_layout.SEASONS, ("s1", "s2"))


def index(folders: Sequence[pathlib.Path]) -> dict[str, list[Item]]:
    """`validation` and `test` as in DFC2020; `unlabelled`: the pairs of all seasons, without their land cover."""
    pairs = sentinel_layout.find(folders, _PAIRS)
    unlabelled = [sentinel_layout.item(patch, files, {"s1": "s1", "s2": "s2"}) for patch, files in pairs.items()]
    return contest_layout.index(folders) | ({"unlabelled": unlabelled} if unlabelled else {})


SAMPLE = DatasetSpec(
    name="sample",
    version="1.0.0",
    title="Synthetic landscapes in the layout of SEN12MS and DFC2020, for trials and tests",
    sensors=(sensors.S1, sensors.S2),
    legends=(LEGEND,),
    tile=256,
    licence="Apache-2.0",
    homepage="",
    citation="",
    layout=(
        "what python -m data_pipelines.datasets.sample.make makes: "
        "ROIs0000_{validation,test}/{s1,s2,dfc}_0/*.tif and ROIs1158_spring/{s1,s2}_1/*.tif"
    ),
    index=index,
    read=contest_layout.read,
    partitions=contest_layout.partitions,
    groups=contest_layout.groups,
    options=sentinel_layout.OPTIONS,
)
