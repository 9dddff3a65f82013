"""Vectors in place of masks: not read yet; what is said of them tells how to rasterise them."""

import pathlib

from data_pipelines.geo import raster_io
from data_pipelines.schema.spec import Refused

SUFFIXES = (".geojson", ".json", ".gpkg", ".shp", ".kml", ".fgb")


def are_vectors(path: pathlib.Path) -> bool:
    """Whether the name of a file says that it holds points, lines or polygons."""
    return path.suffix.lower() in SUFFIXES


def how_to_rasterise(vectors: pathlib.Path, image: pathlib.Path) -> str:
    """The command that makes a mask of vectors, on the grid of an image, as the end of a sentence."""
    extent, crs = "-ts WIDTH HEIGHT -te LEFT BOTTOM RIGHT TOP", ""
    try:
        with raster_io.opened(image) as dataset:
            if crs_there := raster_io.crs_of(dataset):
                bounds = " ".join(f"{number:.12g}" for number in dataset.bounds)
                extent = f"-ts {dataset.width} {dataset.height} -te {bounds}"
                crs = f" ({crs_there.to_string()})" if crs_there.to_authority() else ""
    except Refused:
        pass  # the image is refused by a line of its own, once there is a mask
    return (
        f"burn them onto the image, in its CRS{crs}: `gdal_rasterize -a CLASS_ID -ot Byte -init 255 {extent} "
        f"{vectors.name} {vectors.stem}.tif`, where CLASS_ID is the attribute with the ids of legend.csv; then list "
        f"{vectors.stem}.tif as the mask"
    )
