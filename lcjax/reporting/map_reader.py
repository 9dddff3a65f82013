"""Reads what `lcjax predict` wrote beside its maps: areas of the classes, preview, origin."""

import csv
import dataclasses
import io
import json
import pathlib
import re
from collections.abc import Iterable, Sequence

from data_pipelines.geo import raster_io
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused
from lcjax.mapping.areas import COLUMNS

_PRODUCT = re.compile("(.*)_(confidence|probabilities)")  # rasters of a map that are not maps themselves
_PNG = b"\x89PNG\r\n\x1a\n"


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
            maps.setdefault(path.resolve(), path)
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
    file = _areas(path)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [
                ClassArea(
                    id=int(row["id"]),
                    name=row["name"],
                    colour=row["colour"],
                    pixels=int(row["pixels"]),
                    percent=_number(row["percent"]),
                    hectares=_number(row["hectares"]),
                    hectares_grid=_number(row["hectares_grid"]),
                )
                for row in csv.DictReader(stream)
            ]
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise InputError(
            f"{file}: not a table of areas ({type(error).__name__}: {error}); expected the columns "
            f"{','.join(COLUMNS)}; map the scene again with `lcjax predict`"
        ) from error
    picture = _read_picture(path.with_suffix(".png"))
    classes = tuple(row for row in rows if row.colour)
    empty = sum(row.pixels for row in rows if not row.colour)
    return LandCoverMap(name, path, classes, empty, picture, tuple(_origin(path)))


def _number(text: str) -> float | None:
    return float(text) if text else None


def _read_picture(file: pathlib.Path) -> bytes:
    if not file.is_file():
        return b""
    try:
        picture = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); allow it, or move it away") from error
    if not picture.startswith(_PNG):
        raise InputError(f"{file}: not a PNG picture; move it away, or map the scene again with `lcjax predict`")
    return picture


def _origin(path: pathlib.Path) -> Iterable[str]:
    """Yields phrases on a map's origin, from the tags of the GeoTIFF and the date in its STAC item, if there is one."""
    try:
        with raster_io.opened(path) as dataset:
            tags, crs, (height, width) = dataset.tags(), dataset.crs, dataset.shape
    except Refused as refusal:
        found = refusal.reason.partition(";")[0]
        raise InputError(f"{path}: {found}; expected a map; map the scene again with `lcjax predict`") from refusal
    item = path.with_suffix(".json")
    if item.is_file():
        try:
            yield f"scene of {json.loads(item.read_text(encoding='utf-8'))['properties']['datetime'][:10]}"
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError(
                f"{item}: not a STAC item ({type(error).__name__}: {error}); move it away, or map the scene again"
            ) from error
    if "LCJAX_MODEL" in tags:
        trained = f", trained on {tags['LCJAX_DATASET']}" if "LCJAX_DATASET" in tags else ""
        yield tags["LCJAX_MODEL"] + trained
    if "LCJAX_CHECKPOINT" in tags:
        yield f"checkpoint {tags['LCJAX_CHECKPOINT']}"
    yield f"{width:,} x {height:,} pixels"
    if crs:
        authority = crs.to_authority()
        yield ":".join(authority) if authority else "CRS of its own"
