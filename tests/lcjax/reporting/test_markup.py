"""Building blocks of a page: all that they are given is text, and a page runs its own scripts alone."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from lcjax.reporting import confusion_table, markup
from lcjax.reporting.markup import Cell

EVIL = "<img src=x onerror=alert(1)>&\"'"
SAFE = "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;"


def _png(width, height):
    """A picture of noise."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(pixels | np.uint8([0, 0, 0, 255])).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "made",
    [
        markup.paragraph(EVIL, "note"),
        markup.notes([EVIL]),
        markup.titled(EVIL, markup.paragraph("x")),
        markup.section("name", EVIL, markup.paragraph("x")),
        markup.table("kind", EVIL, [markup.heading("x")], [([Cell("y")], "")]),
        markup.table("kind", "x", [markup.heading(EVIL)], [([Cell("y")], "")]),
        markup.table("kind", "x", [], [([Cell("y", below=(EVIL,))], "")]),
        markup.table("kind", "x", [], [([Cell("y", badges=(EVIL,))], "")]),
        markup.table("kind", "x", [], [([markup.row_heading(EVIL, bold=True)], "")]),
        markup.table("kind", "x", [], [([Cell(EVIL, code=True)], "")]),
        markup.figure(_png(3, 2), EVIL),
        markup.figure(_png(3, 2), "x", EVIL),
        markup.embedded("explorer", {}, EVIL),
        confusion_table.table([[1, 2], [3, 4]], [EVIL, "b"], "x", "pixels"),
        Markup(markup.document(EVIL, Markup(), Markup(), Markup())),
    ],
)
def test_whatever_a_block_is_given_is_text(made):
    assert isinstance(made, Markup) and SAFE in made and "<img src=x" not in made


def test_text_that_is_no_markup_is_escaped_where_a_block_is_expected():
    assert SAFE in markup.joined([EVIL]) and "<img" not in markup.joined([EVIL])


def test_embedded_json_ends_where_it_ends_and_says_what_it_was_given():
    data = {"name": "</script><script>alert(1)</script>\u2028&<!--", "numbers": [1.5, float("nan"), float("inf")]}
    made = markup.embedded("explorer", data, "x")
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', made, re.DOTALL)
    assert json.loads(text) == {"name": data["name"], "numbers": [1.5, None, None]}
    assert not set(text) & set("<>&\u2028")


def test_a_page_runs_the_scripts_that_it_names_by_their_sums():
    scripts = [Markup("let a = 1 < 2 && 3;"), markup.asset("tables.js")]
    page = markup.document("x", Markup(), Markup(), Markup(), scripts)
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', page)
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _scripts(page)]
    assert len(sums) == 2 and all(f"&#39;sha256-{one}&#39;" in policy for one in sums)
    assert "unsafe-inline" not in policy.replace("style-src &#39;unsafe-inline&#39;", "") and "connect" not in policy
    assert "script-src &#39;none&#39;" in markup.document("x", Markup(), Markup(), Markup())


def _scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


@pytest.mark.parametrize("name", sorted(path.name for path in markup.ASSETS.iterdir()))
def test_an_asset_cannot_end_the_element_that_holds_it(name):
    text = markup.asset(name)
    assert "</script" not in text.lower() and "</style" not in text.lower() and "<!--" not in text
    assert "http:" not in text and "https:" not in text and "eval(" not in text and "innerHTML" not in text


def test_the_scripts_of_bokeh_can_stand_in_a_page():
    text = markup.bokeh()
    assert "</script" not in text.lower() and "\r" not in text and 5e5 < len(text) < 3e6


def test_cells_of_a_confusion_matrix_tell_share_and_count():
    made = confusion_table.table([[3, 1], [0, 0]], ["a", "b"], "x", "points", [4, 0])
    cells = re.findall(r'<td class="([^"]*)" style="--share:([^"]*)" title="([^"]*)">([^<]*)</td>', made)
    assert cells == [
        ("n hit", "0.375", "true a, predicted a: 3 of 8 points", "38"),
        ("n", "0.125", "true a, predicted b: 1 of 8 points", "12"),
        ("n", "0.500", "true a, predicted other: 4 of 8 points", "50"),
        ("n", "0.000", "true b, predicted a: 0 of 0 points", "–"),
        ("n hit", "0.000", "true b, predicted b: 0 of 0 points", "–"),
        ("n", "0.000", "true b, predicted other: 0 of 0 points", "–"),
    ]
    assert re.findall('<th scope="col"><span>([^<]*)</span>', made) == ["a", "b", "other"]


def test_a_block_of_nothing_is_nothing():
    assert not markup.titled("x", Markup(), Markup()) and not markup.section("x", "y", Markup())


def test_a_picture_of_16_bits_stays_as_it_is():
    stream = io.BytesIO()
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(10, 30) * 200).save(stream, "PNG")
    assert base64.b64encode(stream.getvalue()).decode() in markup.figure(stream.getvalue(), "x")


@pytest.mark.parametrize(("width", "kind"), [(300, "webp"), (16_384, "png")])
def test_a_picture_keeps_its_pixels_and_its_size_on_paper(width, kind):
    png = _png(width, 2)
    ((found, text),) = re.findall(r"data:image/(\w+);base64,([^\"]*)", made := markup.figure(png, "x"))
    assert found == kind and f"width:{round(96 * width / markup.DPI)}px" in made
    with Image.open(io.BytesIO(base64.b64decode(text))) as shown, Image.open(io.BytesIO(png)) as known:
        assert shown.format == kind.upper()
        np.testing.assert_array_equal(shown.convert("RGB"), known.convert("RGB"))
