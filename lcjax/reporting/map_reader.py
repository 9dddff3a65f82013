"""Read what `lcjax predict` left beside its maps: areas of the classes, the picture, where the map comes from."""

import csv
import dataclasses
import glob
import io
import json
import pathlib
import re
from collections.abc import Iterable, Sequence

import rasterio
from rasterio.errors import RasterioError

from data_pipelines.schema.errors import InputError
from lcjax.mapping.areas import COLUMNS

_BESIDE = re.compile("(.*)_(confidence|probabilities)")  # rasters of a map that are no maps
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Row:
    """One class of a map; the numbers are None where MAP.areas.csv has none. `colour` of no data is ""."""

    id: int
    name: str
    colour: str
    pixels: int
    percent: float | None
    hectares: float | None
    hectares_grid: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """One map. `rows` are its classes in order, no data left out, which has `empty` pixels.

    `picture` is MAP.png, or b"" where there is none; `origin` says in words what made the map and of what.
    """

    name: str
    path: pathlib.Path
    rows: tuple[Row, ...]
    empty: int
    picture: bytes
    origin: tuple[str, ...]

    @property
    def legend(self) -> tuple[tuple[int, str], ...]:
        """Two maps can be compared class by class if, and only if, this agrees."""
        return tuple((row.id, row.name) for row in self.rows)


def find(patterns: Sequence[str]) -> list[pathlib.Path]:
    """The maps that match, sorted and without doubles; rasters that belong to another map are passed over.

    Raises InputError where nothing is left, and where a file is no map of `lcjax predict`.
    """
    found: dict[pathlib.Path, pathlib.Path] = {}
    for pattern in patterns:
        wild = glob.has_magic(pattern)
        for text in glob.glob(pattern, recursive=True) if wild else [pattern]:
            path = pathlib.Path(text)
            beside = _BESIDE.fullmatch(path.stem)
            if wild and beside and _areas(path.with_name(beside[1] + path.suffix)).is_file():
                continue
            if not path.is_file():
                what = "a folder" if path.is_dir() else "no such file"
                raise InputError(
                    f"--maps={text}: {what}; expected maps, e.g. --maps='{path if wild else 'maps'}/*.tif'"
                )
            if not _areas(path).is_file():
                raise InputError(
                    f"--maps={text}: there is no {_areas(path)}; expected a map with its table of areas, "
                    "made by `lcjax predict`: map the scene again, or leave the file out"
                )
            found.setdefault(path.resolve(), path)
    if not found:
        raise InputError(
            f"--maps={','.join(patterns)}: no map matches; expected maps made by `lcjax predict`, e.g. "
            "--maps='maps/*.tif' (quoted, so that the shell leaves the star alone)"
        )
    return sorted(found.values())


def read(paths: Sequence[pathlib.Path]) -> list[Sheet]:
    """Every map, each under a name of its own. Raises InputError for files that cannot be read."""
    stems = [path.stem for path in paths]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]
    return [_read(path, name) for path, name in zip(paths, names, strict=True)]


def to_csv(sheets: Iterable[Sheet]) -> str:
    """The tables of all maps below each other, the map's name before each row; without the rows of no data."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["map", *COLUMNS])
    for sheet in sheets:
        for row in sheet.rows:
            values = dataclasses.astuple(row)
            writer.writerow([sheet.name, *(f"{v:.4f}" if isinstance(v, float) else v for v in values)])
    return text.getvalue()


def _areas(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".areas.csv")


def _read(path: pathlib.Path, name: str) -> Sheet:
    file = _areas(path)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [
                Row(
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
    return Sheet(name, path, classes, empty, picture, tuple(_origin(path)))


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
    """What made a map and of what: from the tags of the GeoTIFF, and the date from its STAC item if there is one."""
    try:
        with rasterio.open(path) as dataset:
            tags, crs, (height, width) = dataset.tags(), dataset.crs, dataset.shape
    except RasterioError as error:
        raise InputError(
            f"{path}: not a raster that GDAL can read; map the scene again with `lcjax predict`"
        ) from error
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
