"""The one reader of CSVs that users write: in a spreadsheet or by hand, on any system."""

import codecs
import csv
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import read_whole

_SEPARATORS = ",;\t"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(
    path: pathlib.Path, required: Sequence[str], example: str, *, spelled: Mapping[str, str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """Reads the rows that hold anything.

    Commas, semicolons or tabs separate; capitals in the header and blanks around values do not matter, nor do a byte
    order mark, the ends of lines and empty columns and rows.

    Args:
      path: of the CSV.
      required: columns that must be there, in small letters.
      example: a header, for the message.
      spelled: other spelling of a column -> the one that is returned.

    Returns:
      For each row its line, and column in small letters -> value.

    Raises:
      InputError: names file and line of what cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; expected a CSV with the columns {example}")
    text = _text(path)
    header: list[str] = []
    named: list[str] = []  # the header as it stands there
    rows = []
    for line, values in _lines(path, text, _separator(text, required)):
        if not header:
            header, named = [(spelled or {}).get(value.lower(), value.lower()) for value in values], values
            _check_header(path, line, header, values, required, example)
            continue
        if [value.lower() for value in values if value] == [value.lower() for value in named if value]:
            raise InputError(f"{path}, line {line}: the header once more; take the line out, or put a row there")
        if len(values) > len(header) and any(values[len(header) :]):
            raise InputError(
                f"{path}, line {line}: {len(values)} values, but {len(header)} columns; put a value with a comma in "
                "quotes"
            )
        rows.append((line, dict.fromkeys(header, "") | dict(zip(header, values, strict=False))))
    if not header:
        raise InputError(f"{path}: empty; expected a header {example} and a row for each entry")
    if not rows:
        raise InputError(f"{path}: a header and no row; expected a row for each entry")
    return rows


def first_column(path: pathlib.Path) -> list[str]:
    """Reads the first values of the lines that hold anything, of a CSV without a header or of a text.

    Raises:
      InputError: as `read`.
    """
    text = _text(path)
    return [values[0] for _, values in _lines(path, text, _separator(text, ()))]


def _text(path: pathlib.Path) -> str:
    raw = read_whole(path, limits.TABLE_BYTES)
    if raw.startswith(_UTF16):
        raise InputError(f"{path}: UTF-16, the `Unicode text` of spreadsheets; save it as CSV in UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: holds NUL, which no text does; save it as CSV in UTF-8")
    return text


def _separator(text: str, required: Sequence[str]) -> str:
    """The one that finds most of the columns in the first line, and of those the most values."""
    first = next((line for line in text.splitlines() if line.strip()), "")[: limits.MAX_CELL]

    def fit(separator: str) -> tuple[int, int]:
        values = [value.strip().lower() for value in next(csv.reader([first], delimiter=separator), [])]
        return len(set(required) & set(values)), len(values)

    return max(_SEPARATORS, key=fit)


def _lines(path: pathlib.Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with values without blanks around them, of the rows that hold anything."""
    # Strict: an open quote would take all that follows for one value.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        begun = reader.line_num + 1
        try:
            values = [value.strip() for value in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}, line {begun}: {error}; expected values with {_NAMES[separator]} between them; is a quote "
                "left open?"
            ) from error
        if longest := max((len(value) for value in values if len(value) > limits.MAX_CELL), default=0):
            raise InputError(
                f"{path}, line {begun}: a value of {longest:,} letters; expected at most {limits.MAX_CELL:,}; is a "
                "quote left open?"
            )
        if any(values):
            yield begun, values


_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


def _check_header(
    path: pathlib.Path, line: int, header: list[str], values: list[str], required: Sequence[str], example: str
) -> None:
    shown = ",".join(values) if len(values) <= 20 else ",".join(values[:20]) + ",..."
    if missing := [column for column in required if column not in header]:
        raise InputError(
            f"{path}, line {line}: no column {', '.join(missing)} in the header {shown[:200]}; expected {example}"
        )
    if twice := next((column for column in header if column and header.count(column) > 1), ""):
        raise InputError(f"{path}, line {line}: two columns {twice} in the header {shown[:200]}; expected {example}")
