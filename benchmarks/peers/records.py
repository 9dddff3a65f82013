"""Records on disk for both sides: GeoTIFFs in a published layout, and the shards that `lcjax prepare` makes of them."""

import pathlib
import shutil

from cases import RECORDS

from data_pipelines.benchmark import input_variants
from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline


def folder_of(output: pathlib.Path, name: str) -> pathlib.Path:
    """The folder with the records of a kind, which are written where they are not there."""
    folder = output / "records" / name
    if not folder.exists():
        half = folder.with_name(f"{name}.incomplete")
        shutil.rmtree(half, ignore_errors=True)
        input_variants.write_geotiffs(input_variants.KINDS[name], half, RECORDS)
        pipeline.write(datasets.dataset(name), half / "geotiff_deflate", half)
        half.rename(folder)
    return folder
