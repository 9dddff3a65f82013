"""DFC2020 as published. Splits, layout and known faults: data_pipelines/datasets/dfc2020/README.md."""

from data_pipelines.datasets import contest_layout, sentinel_layout
from data_pipelines.datasets.contest_legend import DFC2020 as LEGEND
from data_pipelines.datasets.contest_legend import DFC2020_10
from data_pipelines.datasets.dfc2020.downloads import DOWNLOADS
from data_pipelines.datasets.dfc2020.protocols import PROTOCOLS
from data_pipelines.schema import sensors
from data_pipelines.schema.spec import DatasetSpec

DFC2020 = DatasetSpec(
    name="dfc2020",
    version="1.0.0",
    title="IEEE GRSS Data Fusion Contest 2020: Sentinel-1, Sentinel-2 and land cover at 10 m",
    sensors=(sensors.S1, sensors.S2),
    legends=(LEGEND, DFC2020_10),
    tile=256,
    licence="the terms shown with the archives; see data_pipelines/datasets/dfc2020/README.md",
    homepage="https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest",
    citation=(
        "Robinson et al. (2021), Global land-cover mapping with weak supervision: outcome of the 2020 IEEE GRSS Data "
        "Fusion Contest, IEEE JSTARS 14"
    ),
    layout=(
        "ROIs0000_validation/{s1,s2,dfc}_0/ROIs0000_validation_{s1,s2,dfc}_0_p12.tif (or {s1,s2,dfc}_validation/), "
        "and the same with ROIs0000_test"
    ),
    index=contest_layout.index,
    read=contest_layout.read,
    members=contest_layout.FILES,
    partitions=contest_layout.partitions,
    groups=contest_layout.groups,
    protocols=PROTOCOLS,
    downloads=DOWNLOADS,
    options=sentinel_layout.OPTIONS,
)
