"""Reads what `lcjax predict` wrote beside its maps: areas of the classes, preview, origin."""

import csv
import dataclasses
import io
import pathlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from PIL import Image

from data_pipelines.geo import raster_io
from data_pipelines.schema import names, paths, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused
from lcjax.mapping.areas import COLUMNS
from lcjax.mapping.map_writer import BESIDE

_PRODUCT = re.compile(f"(.*)_({'|'.join(BESIDE)})")  # rasters of a map that are not maps themselves
_TAGS = ("LCJAX_MODEL", "LCJAX_DATASET", "LCJAX_CHECKPOINT")
_AGAIN = "map the scene again with `lcjax predict`"
_MOST_BYTES = 2**26  # of what lies beside a map: 64 MB
_MOST = 1e11  # hectares: twice the Earth's surface
_ROUNDING = 1e-4  # of percent in the table


_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}T")]


class _Properties(TypedDict):
    """When a scene was taken, or the scenes of a mosaic."""

    datetime: _Time | None
    start_datetime: NotRequired[_Time]
    end_datetime: NotRequired[_Time]


class _Item(TypedDict):
    """What is read of a STAC item."""

    properties: _Properties


@dataclasses.dataclass(frozen=True)
class ClassArea:
    """One row of MAP.areas.csv; numbers are None where the file has none.

    Attributes:
      id: of the class.
      name: of the class.
      colour: "#rrggbb", "" for no data.
      pixels: number of pixels.
      percent: of the mapped pixels.
      hectares: on the WGS84 ellipsoid.
      hectares_grid: in the plane of the CRS.
    """

    id: int
    name: str
    colour: str
    pixels: int
    percent: float | None
    hectares: float | None
    hectares_grid: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class LandCoverMap:
    """One map.

    Attributes:
      name: unique in the report.
      path: of the GeoTIFF.
      rows: classes in order, without no data.
      empty: number of pixels without data.
      picture: bytes of MAP.png, or b"" where there is none.
      origin: phrases on the scene, the network and the grid.
    """

    name: str
    path: pathlib.Path
    rows: tuple[ClassArea, ...]
    empty: int
    picture: bytes
    origin: tuple[str, ...]

    @property
    def legend(self) -> tuple[tuple[int, str], ...]:
        """Ids and names of the classes; maps can be compared class by class if these agree."""
        return tuple((row.id, row.name) for row in self.rows)


def find(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Finds maps, sorted and without duplicates; rasters that belong to another map are left out.

    Args:
      patterns: paths, which may hold `*`, `?`, `[...]` and `**`.

    Raises:
      InputError: nothing matches, or a file is not a map of `lcjax predict`.
    """
    maps: dict[pathlib.Path, pathlib.Path] = {}
    for pattern in patterns:
        found, wild = paths.matching(pattern, "--maps")
        for path in found:
            product = _PRODUCT.fullmatch(path.stem)
            if wild and product and _areas(path.with_name(product[1] + path.suffix)).is_file():
                continue
            if not path.is_file():
                what = "a folder" if path.is_dir() else "no such file"
                raise InputError(
                    f"--maps={path}: {what}; expected maps, e.g. --maps='{path if wild else 'maps'}/*.tif'"
                )
            if not _areas(path).is_file():
                raise InputError(
                    f"--maps={path}: there is no {_areas(path)}; expected a map with its table of areas, "
                    "made by `lcjax predict`: map the scene again, or leave the file out"
                )
            maps.setdefault(paths.real(path), path)
    if not maps:
        raise InputError(
            f"--maps={','.join(patterns)}: no map matches; expected maps made by `lcjax predict`, e.g. "
            "--maps='maps/*.tif' (quoted, so that the shell leaves the star alone)"
        )
    return sorted(maps.values())


def read(files: Sequence[pathlib.Path]) -> list[LandCoverMap]:
    """Reads maps, each under a name of its own.

    Raises:
      InputError: a file cannot be read.
    """
    stems = [path.stem for path in files]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, files, strict=True)]
    return [_read(path, name) for path, name in zip(files, names, strict=True)]


def to_csv(maps: Iterable[LandCoverMap]) -> str:
    """Formats the tables of all maps as one CSV with the map's name before each row, without the rows of no data."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["map", *COLUMNS])
    for land_map in maps:
        for row in land_map.rows:
            values = dataclasses.astuple(row)
            writer.writerow([land_map.name, *(f"{v:.4f}" if isinstance(v, float) else v for v in values)])
    return text.getvalue()


def _areas(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".areas.csv")


def _read(path: pathlib.Path, name: str) -> LandCoverMap:
    rows = _read_areas(_areas(path))
    try:
        with raster_io.opened(path) as dataset:
            tags, crs, (height, width) = dataset.tags(), dataset.crs, dataset.shape
    except Refused as refusal:
        found = refusal.reason.partition(";")[0]
        raise InputError(f"{path}: {found}; expected a map; map the scene again with `lcjax predict`") from refusal
    counted = sum(row.pixels for row in rows)
    if counted != height * width:
        raise InputError(
            f"{_areas(path)}: {counted:,} pixels, but {path} has {height * width:,}; {_AGAIN}: one of them was changed"
        )
    picture = _read_picture(path.with_suffix(".png"))
    classes = tuple(row for row in rows if row.colour)
    empty = sum(row.pixels for row in rows if not row.colour)
    origin = tuple(_origin(path, tags, crs, f"{width:,} x {height:,} pixels"))
    return LandCoverMap(name, path, classes, empty, picture, origin)


def _read_areas(file: pathlib.Path) -> list[ClassArea]:
    text = typed_json.content(file, _AGAIN, "a table of areas", _MOST_BYTES)
    try:
        rows = [_class_area(row) for row in csv.DictReader(io.StringIO(text.decode("utf-8"), newline=""))]
        mapped = sum(row.pixels for row in rows if row.colour)
        for row in rows:
            if row.percent is not None and abs(row.percent - 100 * row.pixels / max(mapped, 1)) > _ROUNDING:
                raise ValueError(f"{row.name}: found {row.percent} percent, but {row.pixels} of {mapped} pixels")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{file}: not a table of areas ({reason}); expected the columns {','.join(COLUMNS)}; {_AGAIN}"
        ) from error
    return rows


def _class_area(row: dict[str, str]) -> ClassArea:
    pixels = int(row["pixels"])
    if pixels < 0:
        raise ValueError(f"found {pixels} pixels")
    return ClassArea(
        id=int(row["id"]),
        name=names.check(row["name"], "name"),
        colour=names.colour(row["colour"]) if row["colour"] else "",
        pixels=pixels,
        percent=_number(row["percent"]),
        hectares=_number(row["hectares"]),
        hectares_grid=_number(row["hectares_grid"]),
    )


def _number(text: str) -> float | None:
    number = float(text) if text else None
    if number is not None and not 0 <= number <= _MOST:
        raise ValueError(f"found {text!a:.40}, expected a number from 0 to {_MOST:g}")
    return number


def _read_picture(file: pathlib.Path) -> bytes:
    if not file.exists():
        return b""
    again = "move it away, or map the scene again with `lcjax predict`"
    picture = typed_json.content(file, again, "a PNG picture", _MOST_BYTES)
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            image.load()
    # What Pillow raises, and warns, of broken files, and of those that claim to be huge.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        raise InputError(f"{file}: not a PNG picture ({error}); {again}") from error
    return picture


def _origin(path: pathlib.Path, tags: Mapping[str, str], crs: Any, size: str) -> Iterator[str]:
    """Yields phrases on a map's origin, from the tags of the GeoTIFF and the date in its STAC item, if there is one."""
    item = path.with_suffix(".json")
    if item.exists():
        again = "move it away, or map the scene again"
        read = typed_json.read(item, _Item, again, foreign=True, expected="a STAC item", limit=_MOST_BYTES)
        told = read["properties"]
        first = told["datetime"] or told.get("start_datetime", "")
        last = told["datetime"] or told.get("end_datetime", "")
        yield f"scene of {first[:10]}" if first == last else f"scenes from {first[:10]} to {last[:10]}"
    said = {tag: names.check(tags[tag], f"{path}: the tag {tag}") for tag in _TAGS if tag in tags}
    if "LCJAX_MODEL" in said:
        trained = f", trained on {said['LCJAX_DATASET']}" if "LCJAX_DATASET" in said else ""
        yield said["LCJAX_MODEL"] + trained
    if "LCJAX_CHECKPOINT" in said:
        yield f"checkpoint {said['LCJAX_CHECKPOINT']}"
    yield size
    if crs:
        authority = crs.to_authority()
        yield ":".join(authority) if authority else "CRS of its own"
