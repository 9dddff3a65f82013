"""The differences, as a table behind the tests; in build/parity.txt too, as they come."""

import pathlib

import pytest

_TABLE = pathlib.Path(__file__).parents[2] / "build" / "parity.txt"
_ROWS: list[str] = []


@pytest.fixture
def note():
    """Takes a line of the table."""

    def take(row: str):
        _TABLE.parent.mkdir(exist_ok=True)
        with _TABLE.open("a" if _ROWS else "w") as table:
            table.write(row + "\n")
        _ROWS.append(row)

    return take


def pytest_terminal_summary(terminalreporter):
    if _ROWS:
        terminalreporter.section("largest absolute differences")
        for row in _ROWS:
            terminalreporter.write_line(row)
