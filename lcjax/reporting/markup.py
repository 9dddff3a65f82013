"""Building blocks of a page: tables, pictures, paragraphs and the page itself, laid out by the templates beside it.

Templates escape all that they are given but `Markup`, which templates alone make: whatever a name in a page says, it is
text. A page holds all that it shows, its scripts too, and by its Content-Security-Policy a browser fetches nothing and
runs no script but those.
"""

import base64
import dataclasses
import functools
import hashlib
import io
import json
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from lcjax.plotting.figures import DPI

ASSETS = pathlib.Path(__file__).parent / "assets"
_LONGEST = 16_383  # pixels of a side of a WebP picture


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table. All words are plain text; what follows a line break stands on a line of its own.

    Attributes:
      words: what it says.
      marks: classes: "n" is a number.
      scope: "row" or "col" of the head of one; "" of all others.
      bold: whether it is the best of its column.
      code: whether it is to be copied.
      below: smaller lines below it.
      colour: "#rrggbb" of a swatch before it, or of its bar.
      badges: small labels behind it.
      notes: numbers of notes.
      shade: from 0 to 1: how dark its ground is.
      bar: from 0 to 1: how long a bar it holds in place of words.
      span: columns that it takes.
    """

    words: str = ""
    marks: str = ""
    scope: str = ""
    bold: bool = False
    code: bool = False
    below: tuple[str, ...] = ()
    colour: str = ""
    badges: tuple[str, ...] = ()
    notes: tuple[int, ...] = ()
    shade: float | None = None
    bar: float | None = None
    span: int = 1


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lcjax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> Markup:
    """Fills a template of this room.

    Args:
      template: name of its file.
      values: what it names; text is escaped.
    """
    return Markup(_environment().get_template(template).render(values))


def document(
    title: str, header: Markup, main: Markup, footer: Markup, scripts: Sequence[Markup] = (), asks: bool = False
) -> str:
    """Returns the text of a page.

    Args:
      title: plain text.
      header: what stands below it.
      main: the sections.
      footer: the last line.
      scripts: that it holds and runs, in this order.
      asks: whether they may ask the server that the page came from.
    """
    return str(
        render(
            "document.html",
            title=title,
            header=header,
            main=main,
            footer=footer,
            policy=policy(scripts, asks),
            style=asset("page.css") + asset("viewer.css"),
            scripts=scripts,
        )
    )


def policy(scripts: Iterable[str], asks: bool = False) -> str:
    """Returns the Content-Security-Policy of a page that runs these scripts and no other; `asks` as of `document`."""
    sums = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    listed = " ".join(f"'sha256-{one}'" for one in sums) or "'none'"
    return (
        f"default-src 'none'; script-src {listed}; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'" + ("; connect-src 'self'" if asks else "")
    )


@functools.cache
def asset(name: str) -> Markup:
    """Returns the text of a style or script of this room."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def joined(blocks: Iterable[Markup]) -> Markup:
    """Returns blocks below each other."""
    return Markup("\n").join(blocks)


def titled(title: str, *blocks: Markup, level: int = 3, notes: Sequence[int] = ()) -> Markup:
    """Returns blocks below a title; nothing where there are none.

    Args:
      title: plain text.
      blocks: what stands below it; empty ones do not count.
      level: of the title, 2 to 4.
      notes: numbers of notes on the title.
    """
    if not any(blocks):
        return Markup()
    return render("titled.html", title=title, blocks=blocks, level=level, notes=notes)


def section(name: str, title: str, *blocks: Markup) -> Markup:
    """Returns a section that links lead to by its name; nothing where it has no blocks."""
    return render("section.html", name=name, inner=titled(title, *blocks, level=2)) if any(blocks) else Markup()


def paragraph(words: str, marks: str = "") -> Markup:
    """Returns a paragraph of plain text; marks are "note" or "soft"."""
    return render("paragraph.html", words=words, marks=marks)


def notes(lines: Iterable[str]) -> Markup:
    """Returns a paragraph for each line of what a reader must know."""
    return joined(paragraph(line, "note") for line in lines)


def table(kind: str, caption: str, head: Sequence[Cell], rows: Sequence[tuple[Sequence[Cell], str]]) -> Markup:
    """Returns a table that scrolls where it is too wide. Readers can sort it, and filter the rows of a long one.

    Args:
      kind: class of the table.
      caption: plain text.
      head: cells of the head.
      rows: (cells, class of the row or "").
    """
    return render("table.html", kind=kind, caption=caption, head=head, rows=rows)


def heading(words: str, marks: str = "", **more: Any) -> Cell:
    """Returns the head cell of a column; `more` are fields of `Cell`."""
    return Cell(words, marks, "col", **more)


def row_heading(words: str, **more: Any) -> Cell:
    """Returns the head cell of a row; `more` are fields of `Cell`."""
    return Cell(words, scope="row", **more)


def number(words: str, **more: Any) -> Cell:
    """Returns a cell of a column of numbers; `more` are fields of `Cell`."""
    return Cell(words, "n", **more)


def empty(span: int = 1) -> list[Cell]:
    """Returns so many cells without words."""
    return [Cell()] * span


def figure(png: bytes, alternative: str, caption: str = "", wide: bool = False) -> Markup:
    """Returns an embedded picture, its pixels as they are: as WebP, which is a third smaller, where its size allows.

    Args:
      png: bytes at `figures.DPI`.
      alternative: text in place of the picture.
      caption: plain text.
      wide: scroll on a narrow screen instead of shrinking.
    """
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        width, kind, packed = round(96 * image.width / DPI), "png", io.BytesIO(png)
        if max(image.size) <= _LONGEST and image.mode in ("L", "P", "RGB", "RGBA"):  # others have 16 bits
            kind, packed = "webp", io.BytesIO()
            image.save(packed, "WEBP", lossless=True, exact=True)
    return render(
        "figure.html",
        kind=kind,
        data=base64.b64encode(packed.getvalue()).decode(),
        alternative=alternative,
        caption=caption,
        width=width,
        least=min(width, 760) if wide else 0,
    )


def chart(kind: str, data: dict[str, Any], still: Markup) -> Markup:
    """Returns a figure that shows numbers under the cursor, and its picture, for paper and where no script runs.

    Args:
      kind: which of the charts in charts.js.
      data: what it draws.
      still: the picture of the same.
    """
    return render("chart.html", kind=kind, data=_json(data), still=still)


def embedded(kind: str, data: dict[str, Any], title: str) -> Markup:
    """Returns the place that a script fills, and what it reads.

    Args:
      kind: class of the place: "explorer" or "map", of the script of that name.
      data: that the script reads.
      title: plain text, what is shown.
    """
    return render("embedded.html", kind=kind, data=_json(data), title=title)


def _json(data: Any) -> Markup:
    """JSON that no text in it can end; numbers that JSON does not know are null."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate({ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


@functools.cache
def bokeh() -> Markup:
    """Returns the scripts of Bokeh, which its package holds."""
    import bokeh.util.paths

    folder = bokeh.util.paths.bokehjs_path() / "js"
    return Markup("\n").join(
        Markup((folder / name).read_text(encoding="utf-8")) for name in ("bokeh.min.js", "bokeh-api.min.js")
    )


def listed(words: Sequence[str]) -> str:
    """Joins words: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
