"""SEN12MS as published. Splits, layout and known faults: data_pipelines/datasets/sen12ms/README.md."""

import pathlib
from collections.abc import Sequence

from data_pipelines.datasets import sentinel_layout
from data_pipelines.datasets.sen12ms.downloads import DOWNLOADS
from data_pipelines.datasets.sen12ms.legend import DFC2020_8, IGBP, SIMPLIFIED
from data_pipelines.datasets.sentinel_layout import SEASONS, PatchId
from data_pipelines.schema import sensors
from data_pipelines.schema.spec import DatasetSpec, Item, Kept, Partition, Protocol, Record, Refused

_FILES = sentinel_layout.names(SEASONS, ("s1", "s2", "lc"))
_LC_BANDS = 4  # IGBP, then cover, use and surface hydrology of LCCS

# The scenes that the authors hold out for tests, 18,106 patches.
# Source: splits/SEN12MS_holdOutScenes.txt of the SEN12MS toolbox (Schmitt and Wu 2021).
HOLD_OUT = {
    "spring": (15, 17, 63, 97, 124, 146),
    "summer": (15, 19, 43, 72, 79, 104, 131),
    "fall": (30, 35, 39, 47, 61, 120, 141, 144),
    "winter": (32, 64, 107, 135, 146),
}
KNOWN_FAULTS = {
    "ROIs1868_summer_146_p202": "a known fault of the published archive: its Sentinel-1 patch is NaN throughout"
}


def index(folders: Sequence[pathlib.Path]) -> dict[str, list[Item]]:
    """All patches below `folders` by season, in the order of scene and patch number.

    A season none of whose land-cover files is there holds pairs, for pre-training; otherwise every patch needs its own.
    """
    found = sentinel_layout.find(folders, _FILES)
    seasons: dict[str, list[Item]] = {}
    for season in SEASONS:
        patches = {patch: files for patch, files in found.items() if patch.season == season}
        labelled = any("lc" in files for files in patches.values())
        parts = {"s1": "s1", "s2": "s2"} | ({"label": "lc"} if labelled else {})
        if patches:
            sentinel_layout.check_whole(season, patches.values(), parts)
            seasons[season] = [sentinel_layout.item(patch, files, parts) for patch, files in patches.items()]
    return seasons


def read(item: Item, *, max_nodata: float = 0.0, offset: int = 0) -> Record:
    """One record, as `layout.read` describes it. Raises Refused."""
    try:
        return sentinel_layout.read(item, IGBP, _LC_BANDS, max_nodata=max_nodata, offset=offset)
    except Refused as refusal:
        if item.id not in KNOWN_FAULTS:
            raise
        raise Refused(refusal.file, f"{refusal.reason}; {KNOWN_FAULTS[item.id]}") from refusal


def partitions(records: dict[str, list[Kept]]) -> dict[str, Partition]:
    """`official`: the scenes that the authors hold out are its test part. None where one of the two parts is empty."""
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for record in (record for season in SEASONS for record in records.get(season, ())):
        patch = PatchId.parse(record.id)
        parts["test" if patch.scene in HOLD_OUT[patch.season] else "train"].append(record.id)
    return {"official": Partition(parts)} if all(parts.values()) else {}


PROTOCOLS = (
    Protocol(
        name="weak_labels",
        title="learns from MODIS labels; `lcjax evaluate --dataset=dfc2020 --split=test` (or validation) scores it",
        train="official/train",
        test="official/test",
        legend="dfc2020_8",
        records=(162_555, 0, 18_106),
        source="github.com/lukasliebel/dfc2020_baseline; Schmitt and Wu 2021 (the scenes that are held out)",
        warning="scores on official/test are against MODIS labels of 500 m, and none of DFC2020",
    ),
)

SEN12MS = DatasetSpec(
    name="sen12ms",
    version="1.0.0",
    title="SEN12MS: Sentinel-1, Sentinel-2 and MODIS land cover of four seasons",
    sensors=(sensors.S1, sensors.S2),
    legends=(IGBP, SIMPLIFIED, DFC2020_8),
    tile=256,
    licence="the terms shown with the archives; see data_pipelines/datasets/sen12ms/README.md",
    homepage="https://mediatum.ub.tum.de/1474000",
    citation=(
        "Schmitt, Hughes, Qiu and Zhu (2019), SEN12MS: a curated dataset of georeferenced multi-spectral Sentinel-1/2 "
        "imagery for deep learning and data fusion, ISPRS Annals IV-2/W7, 153-160"
    ),
    layout=(
        "ROIs1158_spring/{s1,s2,lc}_7/ROIs1158_spring_{s1,s2,lc}_7_p30.tif, the same with ROIs1868_summer, "
        "ROIs1970_fall and ROIs2017_winter, or the archives ROIs1158_spring_{s1,s2,lc}.tar.gz; no lc for pairs only"
    ),
    index=index,
    read=read,
    members=_FILES,
    partitions=partitions,
    protocols=PROTOCOLS,
    downloads=DOWNLOADS,
    options=sentinel_layout.OPTIONS,
)
