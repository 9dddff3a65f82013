"""Own imagery as generic code meets it: by its name, before any file is looked at."""

import functools
import pathlib

from data_pipelines.schema.spec import DatasetFamily, Described


def _describe(
    name: str, source: pathlib.Path, legend: pathlib.Path | None, tile: int | None, resample: bool
) -> Described:
    from data_pipelines.datasets.rasters import builder  # here, because other data sets need none of it

    description = builder.describe(name, source, legend, builder.TILE if tile is None else tile, resample)
    return Described(description.csv, description.fingerprint, functools.partial(builder.spec, description, RASTERS))


def _begin(name: str, source: pathlib.Path, tile: int | None) -> None:
    from data_pipelines.datasets.rasters import init_csv

    init_csv.init_csv(name, source, tile)


RASTERS = DatasetFamily(name="rasters", version="1.0.0", describe=_describe, begin=_begin, overlapping=True)
