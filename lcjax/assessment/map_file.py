"""Whether a map is still the one that was sampled: by size and time of its file, else by every pixel."""

import pathlib

from data_pipelines.geo import geodesy
from data_pipelines.schema.errors import InputError
from lcjax.assessment import layers
from lcjax.assessment.design import Design, MapFile
from lcjax.assessment.layers import Layers


def describe(opened: Layers, fingerprint: str) -> MapFile:
    """Describes an open map."""
    about = opened.path.stat()
    code, wkt = geodesy.codes(opened.crs) if opened.crs is not None else (None, "")
    t = opened.transform
    return MapFile(
        path=str(opened.path.absolute()),
        fingerprint=fingerprint,
        bytes=about.st_size,
        changed=about.st_mtime_ns,
        crs=code or wkt,
        height=opened.height,
        width=opened.width,
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
    )


def check(design: Design, path: pathlib.Path, legend: pathlib.Path | None, source: pathlib.Path) -> None:
    """Checks that a map is the one that was sampled.

    Args:
      design: of the sample.
      path: of the map.
      legend: CSV of its classes, as when it was sampled.
      source: file of the design, for the message.

    Raises:
      InputError: it is another one, or cannot be read.
    """
    if path.is_file():
        about = path.stat()
        if (about.st_size, about.st_mtime_ns) == (design.map.bytes, design.map.changed):
            return
    with layers.opened(path, legend) as opened:
        found = opened.fingerprint()
    if found != design.map.fingerprint:
        raise InputError(
            f"{path}: is not the map that was sampled ({design.map.path}; fingerprint {found[:12]}, expected "
            f"{design.map.fingerprint[:12]} by {source}); a sample tells of its own map alone: draw one from this map"
        )
