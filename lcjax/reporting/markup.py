"""Building blocks of a page: style, tables, pictures, escaped text. No scripts, nothing to fetch."""

import base64
import html
from collections.abc import Sequence

from lcjax.plotting.figures import DPI

# The page holds all that it shows: whatever a name or a colour in it says, a browser fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5b6775; --line: #d8dee6; --wash: #f5f7fa; --mark: #0b5c8f; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 76rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: .75rem; border-top: 3px solid var(--mark); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .4rem; }
p, ul { margin: .4rem 0; max-width: 60rem; }
.soft, caption, figcaption { color: var(--soft); font-size: .875rem; }
.note { border-left: 3px solid #d55e00; padding: .1rem .75rem; }
nav ul { padding-left: 1.1rem; }
a { color: var(--mark); }
code { font-size: .9em; background: var(--wash); padding: 0 .25em; border-radius: 3px; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
thead th, thead td { border-bottom: 2px solid var(--ink); vertical-align: bottom; font-weight: 600; }
th[scope=row] { font-weight: 500; position: sticky; left: 0; background: #fff; }
td.n, th.n { text-align: right; }
td b { color: var(--mark); }
.spread { display: block; color: var(--soft); font-size: .75rem; }
tr.baseline, tr.baseline th[scope=row] { background: var(--wash); }
.badge { font-size: .7rem; border: 1px solid var(--soft); border-radius: 3px; padding: 0 .3em; color: var(--soft); }
.swatch { display: inline-block; width: .8em; height: .8em; border: 1px solid #556; margin-right: .4em;
  vertical-align: -.05em; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
td.n.shade { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.paper thead th, .best th, .best td { white-space: normal; }
td.ours, th.ours { background: #eaf3f9; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
sup { line-height: 0; color: var(--soft); white-space: nowrap; }
ol { margin: .4rem 0; max-width: 60rem; }
figure { margin: .75rem 0; }
figure img { display: block; height: auto; }
.bar { min-width: 9rem; }
.bar span { display: block; height: .7em; min-width: 1px; border-radius: 1px; box-shadow: 0 0 0 1px #5563;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
tr.total th, tr.total td { border-top: 2px solid var(--ink); border-bottom: 0; font-weight: 600; }
tr.aside th[scope=row], tr.aside td { color: var(--soft); font-weight: 400; border-bottom: 0; }
.run { display: flex; flex-wrap: wrap; gap: 0 1.25rem; align-items: flex-start; }
.run > * { max-width: 100%; }
.run th, .run td { padding: .3rem .45rem; }
footer { margin-top: 3rem; padding-top: .5rem; border-top: 1px solid var(--line); }
@media print {
  html { font-size: 11px; } body { max-width: none; padding: 0; font-size: 1rem; }
  .run { flex-wrap: nowrap; } .run figure { flex: 1; min-width: 0; }
  .scroll { overflow: visible; }
  figure img { max-width: 100% !important; max-height: 22cm; object-fit: contain; object-position: left; }
  th, td { padding: .15rem .35rem; white-space: normal; }
  h2, h3 { break-after: avoid; } figure, tr, .run { break-inside: avoid; }
}
"""


def document(title: str, header: str, main: str, footer: str) -> str:
    """Returns the text of a page.

    Args:
      title: plain text.
      header: markup.
      main: markup.
      footer: markup.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{text(title)}</h1>
{header}
</header>
<main>
{main}
</main>
<footer class="soft">{footer}</footer>
</body>
</html>
"""


def table(kind: str, caption: str, head: Sequence[str], rows: Sequence[tuple[list[str], str]]) -> str:
    """Returns a table that scrolls where it is too wide.

    Args:
      kind: class of the table.
      caption: plain text.
      head: cells of the head as markup.
      rows: (cells as markup, class of the row or "").
    """
    body = "\n".join(
        f'<tr class="{mark}">{"".join(cells)}</tr>' if mark else f"<tr>{''.join(cells)}</tr>" for cells, mark in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{''.join(head)}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def heading(words: str, mark: str = "") -> str:
    """Returns the head cell of a column.

    Args:
      words: plain text.
      mark: class of the cell, or "".
    """
    return f'<th scope="col" class="{mark}">{text(words)}</th>' if mark else f'<th scope="col">{text(words)}</th>'


def number(words: str) -> str:
    """Returns a cell of a column of numbers; the words are markup."""
    return f'<td class="n">{words}</td>'


def area_decimals(total: float) -> int:
    """Returns how many decimals give a total area about five digits; 0.01 hectares are 100 square metres."""
    return 2 if total < 1000 else 1 if total < 10_000 else 0


def swatch(name: str, colour: str | None) -> str:
    """Returns a class name with a swatch of its colour, if it has one."""
    patch = f'<span class="swatch" style="background:{text(colour)}"></span>' if colour else ""
    return patch + text(name)


def figure(png: bytes, alternative: str, caption: str = "", wide: bool = False) -> str:
    """Returns an embedded picture.

    Args:
      png: bytes at `figures.DPI`.
      alternative: text in place of the picture.
      caption: plain text.
      wide: scroll on a narrow screen instead of shrinking.
    """
    pixels = int.from_bytes(png[16:20], "big")  # from the IHDR chunk, which always comes first
    width = round(96 * pixels / DPI)
    data = base64.b64encode(png).decode()
    style = f"width:{width}px;max-width:max(100%,{min(width, 760)}px)" if wide else f"width:{width}px;max-width:100%"
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><div class="scroll"><img style="{style}" alt="{text(alternative)}" '
        f'src="data:image/png;base64,{data}"></div>{below}</figure>'
    )


def listed(words: Sequence[str]) -> str:
    """Joins words: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def text(value: object) -> str:
    """Escapes a value so that nothing in it is markup."""
    return html.escape(str(value))
