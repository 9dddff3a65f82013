"""The differences, as a table behind the tests."""

import pytest

_ROWS: list[str] = []


@pytest.fixture
def note():
    """Takes a line of the table."""
    return _ROWS.append


def pytest_terminal_summary(terminalreporter):
    if _ROWS:
        terminalreporter.section("largest absolute differences")
        for row in _ROWS:
            terminalreporter.write_line(row)
