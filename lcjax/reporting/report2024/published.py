"""Published figures to compare runs with: the tables of the 2024 report, and the best figures elsewhere.

The numbers, and the marks on those that are known to be wrong, are data: published.json, in the order of the printed
rows. The 2024 report: github.com/BertilleT/land_cover_map_Transformers_SSL, report_DL.pdf.
"""

import dataclasses
import functools
import importlib.resources

from data_pipelines.schema import typed_json


@dataclasses.dataclass(frozen=True)
class Mark:
    """A note on printed figures.

    Attributes:
      note: the reason, in words.
      cell: of the column; "" for the whole table.
      row: of the figure; "" for the whole column.
      class_mean: mean of the printed class rows of the column, where the note rests on it.
    """

    note: str
    cell: str = ""
    row: str = ""
    class_mean: float | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A printed column. Figures are fractions in the order of the rows, None where there is none.

    Attributes:
      cell: the experiment: `config.cell` of a run that repeats it.
      title: as printed.
      printed: figures of the report.
      article: figures of the article that the report compares itself with.
      notebook: figures stored in the report's notebooks, with four decimals.
    """

    cell: str
    title: str
    printed: tuple[float | None, ...]
    article: tuple[float | None, ...] = ()
    notebook: tuple[float | None, ...] = ()


@dataclasses.dataclass(frozen=True)
class PrintedTable:
    """A printed table.

    Attributes:
      number: in the report.
      title: as printed.
      data: data set of the figures.
      records: number of test records behind the figures.
      rows: (name as printed, our name of the score or None); a mean goes by its stem, "mCA" or "mIoU".
      columns: from left to right.
      marks: notes.
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
    """A published figure.

    Attributes:
      system: network or method.
      data: data set and protocol.
      metric: name of the score.
      value: a fraction.
      source: publication.
      spread: number behind ± in the source.
    """

    system: str
    data: str
    metric: str
    value: float
    source: str
    spread: float | None = None


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A published confusion matrix.

    Attributes:
      title: above the matrix.
      source: publication.
      names: of the K classes.
      matrix: (K, K) fractions of each row, rows = truth, rounded by the source.
    """

    title: str
    source: str
    names: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class Published:
    """All of published.json.

    Attributes:
      sources: kind of figures of a `Column` -> where they are from.
      tables: of the 2024 report.
      best: the best figures elsewhere.
      confusion: a confusion matrix.
    """

    sources: dict[str, str]
    tables: tuple[PrintedTable, ...]
    best: tuple[Figure, ...]
    confusion: Confusion


@functools.cache
def published() -> Published:
    """Reads published.json."""
    file = importlib.resources.files("lcjax.reporting.report2024").joinpath("published.json")
    remedy = "install lcjax again"
    return typed_json.convert(typed_json.parse(file.read_bytes(), file, remedy), Published, file, remedy)
