"""The page lists every limit, with its value."""

import pathlib
import re

from data_pipelines.schema import limits

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "security.md"


def test_the_page_lists_the_limits_as_they_are():
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE))
    assert told == {name: f"{value:,}" for name, value in vars(limits).items() if type(value) is int}
