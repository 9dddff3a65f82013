"""The columns of a CSV of own imagery: which of them are sensors, and which are not read."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.geo import vectors
from data_pipelines.geo.cubes import store
from data_pipelines.remote.addresses import remote_text
from data_pipelines.schema import limits, paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import check_name

IMAGE = "image"  # the column of the only sensor, where there is one
ROW_COLUMNS = ("mask", "split", "group")
EXCLUDE = "exclude"  # the second mask: what is not to be used of the images
# How polygons are drawn, where the mask is a file of such: read by `vector_labels`.
VECTOR_COLUMNS = ("class_column", "layer", "outside", "overlap", "all_touched", "buffer")
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")
BLOCK_COLUMNS = ("left", "top", "width", "height")  # of a part of an image, in pixels
EXAMPLE = "image,mask,split,group"
_EXAMPLE_OF_SEVERAL = "s1,s2,mask,split,group"
SUFFIXES = (
    ".tif",
    ".tiff",
    ".jpg",
    ".jpeg",
    ".png",
    ".jp2",
    ".vrt",
    ".img",
)  # of files that are surely meant as images
# Beside a column called image, a column that holds files may be a thumbnail: only its name can say that it is an image.
_LIKE_IMAGE = re.compile(r"images?[ _.-]?[^ ].*|img.*|s1|s2|sentinel.*|(.*[ _.-])image")
MASK_WORD = re.compile(  # lc08 is no land cover: so products of Landsat 8 are called
    r"masks?|labels?|msks?|gt|(ground[ _.-]?)?truth|annotations?|lc(?!\d)|lulc|land[ _.-]?(use|cover)|targets?|"
    r"references?|segmentations?|class(es)?"
)
_LIKE_MASK = re.compile(rf"(.*[ _.-])?({MASK_WORD.pattern})([ _.-].*|\d+)?")


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the columns of a CSV are.

    Attributes:
      sensors: each column of images; its name is that of the sensor.
      unread: the others that are not known.
    """

    sensors: tuple[str, ...]
    unread: tuple[str, ...]


def read(path: pathlib.Path, rows: Sequence[Mapping[str, str]]) -> Columns:
    """Tells the columns of images from others.

    A column called image is one, and so are those with a name like it (image2, s1, s2) that hold anything. Where
    none is called image, so are all that hold files.

    Args:
      path: of the CSV.
      rows: column -> value, at least one row.

    Raises:
      InputError: there is no column of images, one has a name that no sensor can have, or looks like a second mask; or
        some of the columns of a part of an image are there and others not, or hold files.
    """
    given = [column for column in BLOCK_COLUMNS if column in rows[0]]
    for column in given:
        if any(row[column].lower().endswith(SUFFIXES) for row in rows):
            raise InputError(
                f"{path}: column {column!r} holds files, but is that of a part of an image, in pixels; give it another "
                f"name, such as image_{column}"
            )
    known = [*ROW_COLUMNS, *BLOCK_COLUMNS, EXCLUDE]
    if any(vectors.are_vectors(pathlib.Path(row["mask"])) for row in rows):
        known += VECTOR_COLUMNS
    header = [column for column in rows[0] if column and column not in known]
    found = [column for column in header if _is_sensor(path, column, header, (row[column] for row in rows))]
    for column in found:
        if looks_like_mask(column):
            raise InputError(
                f"{path}: column {column!r} holds files and looks like a second mask, and a network that is shown it "
                "as an image would have seen the answers; take it out, or give it the name of a sensor"
            )
        check_name(column, f"{path}: column {column!r} holds images, and its name is that of their sensor")
    if len(found) > limits.MAX_SENSORS:
        raise InputError(f"{path}: {len(found):,} columns of images; expected at most {limits.MAX_SENSORS}")
    if not found:
        raise InputError(
            f"{path}: no column of images in the header {','.join(rows[0])[:200]}; expected {EXAMPLE}, or a column for "
            f"each sensor, such as {_EXAMPLE_OF_SEVERAL}"
        )
    if given and len(given) < len(BLOCK_COLUMNS):
        raise InputError(
            f"{path}: the columns {', '.join(given)} alone; a part of an image takes all of {', '.join(BLOCK_COLUMNS)}"
        )
    return Columns(tuple(found), tuple(column for column in header if column not in found))


def looks_like_mask(name: str) -> bool:
    """Whether a column or folder, in small letters, is called as masks are."""
    return bool(_LIKE_MASK.fullmatch(name))


def is_free(name: str) -> bool:
    """Whether a column may have this name among those of several sensors, and be taken for nothing else."""
    return name not in (IMAGE, *ROW_COLUMNS, *BLOCK_COLUMNS, EXCLUDE, *VECTOR_COLUMNS)


def _is_sensor(path: pathlib.Path, column: str, header: Sequence[str], values: Iterable[str]) -> bool:
    if column == IMAGE:
        return True
    given = [value for value in values if value]
    if _LIKE_IMAGE.fullmatch(column) or IMAGE in header:
        return bool(_LIKE_IMAGE.fullmatch(column) and given)
    return any(_is_file(path, column, value) for value in given)


def _is_file(path: pathlib.Path, column: str, value: str) -> bool:
    """Whether a value is surely a file: there is one, or it ends as those of images do, or is an address."""
    if value.lower().endswith(SUFFIXES) or remote_text(value):
        return True
    try:
        given = paths.given(value, column, path.parent)
        return given.is_file() or store.root_of(given) is not None
    except (InputError, OSError):
        return False  # no name that a file could have: a note
