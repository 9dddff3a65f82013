"""What others have published, to lay our runs beside: the tables of the 2024 report, the best figures elsewhere.

The numbers, and the marks on those that are known to be wrong, are data: published.json, in the order of the printed
rows. The 2024 report: github.com/BertilleT/land_cover_map_Transformers_SSL, report_DL.pdf.
"""

import dataclasses
import functools
import importlib.resources
import json


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a reader must know of a figure as printed.

    Attributes:
      note: the reason, in words.
      cell, row: of what: one figure; with an empty row a column; with both empty the table.
      class_mean: the mean of the printed class rows of the column, where the mark rests on it.
    """

    note: str
    cell: str = ""
    row: str = ""
    class_mean: float | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A printed column. Figures are fractions in the order of the rows, None where there is none.

    Attributes:
      cell: which experiment it is: `config.cell` of a run that repeats it.
      printed: as the report prints it.
      article: of the article that the report compares itself with.
      notebook: as stored in the report's notebooks, in four decimals.
    """

    cell: str
    title: str
    printed: tuple[float | None, ...]
    article: tuple[float | None, ...] = ()
    notebook: tuple[float | None, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A printed table.

    Attributes:
      rows: (name as printed, our score of the same thing or None); a mean is named by its stem, "mCA" or "mIoU".
      records: of how many test records the printed figures are.
    """

    number: int
    title: str
    data: str
    records: int
    rows: tuple[tuple[str, str | None], ...]
    columns: tuple[Column, ...]
    marks: tuple[Mark, ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A published figure, as a fraction; `spread` is the one that its source prints behind ±."""

    system: str
    data: str
    metric: str
    value: float
    source: str
    spread: float | None = None


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A published confusion matrix: rows = truth, as fractions of a row, rounded by its source."""

    title: str
    source: str
    names: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class Published:
    """The whole file. `sources` says where the three kinds of figures of a `Column` are from."""

    sources: dict[str, str]
    tables: tuple[Table, ...]
    best: tuple[Figure, ...]
    confusion: Confusion


@functools.cache
def published() -> Published:
    """What published.json holds."""
    fields = json.loads(
        importlib.resources.files("lcjax.reporting.report2024").joinpath("published.json").read_text(encoding="utf-8")
    )
    return Published(
        sources=fields["sources"],
        tables=tuple(map(_table, fields["tables"])),
        best=tuple(Figure(**entry) for entry in fields["best"]),
        confusion=Confusion(**fields["confusion"]),
    )


def _table(fields: dict) -> Table:
    rows = tuple((name, score) for name, score in fields.pop("rows"))
    columns = tuple(Column(**entry) for entry in fields.pop("columns"))
    marks = tuple(Mark(**entry) for entry in fields.pop("marks"))
    return Table(**fields, rows=rows, columns=columns, marks=marks)
