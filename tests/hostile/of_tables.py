"""CSVs and lists: of images and masks, of classes, of scenes."""

from collections.abc import Callable, Iterable

import damage
from corpus import Asked, Case, Place, seeded

Texts = dict[str, bytes]
PAIRS: Texts = {
    "nul": b"image,mask,split,group\ni0.tif,m\x000.tif,train,a\n",
    "huge_cell": b"image,mask,split,group\n" + b"a" * 300_000,
    "utf16": "image,mask,split,group\ni0.tif,m0.tif,train,a\n".encode("utf-16"),
    "latin1": b"image,mask,split,group\n\xe9.tif,m0.tif,train,a\n",
    "unclosed_quote": b'image,mask,split,group\n"i0.tif,m0.tif,train,a\n' + b"i1.tif,m1.tif,train,b\n" * 1000,
    "empty": b"",
    "header_only": b"image,mask,split,group\n",
    "no_header": b"i0.tif,m0.tif,train,a\n",
    "binary": bytes(range(256)) * 20,
    "too_many_cells": b"image,mask,split,group\n" + b"," * 100_000,
    "same_column_twice": b"image,image,mask,split\ni0.tif,i1.tif,m0.tif,train\n",
    "url": b"image,mask,split,group\nhttp://127.0.0.1:9/a.tif,m0.tif,train,a\n",
    "vsicurl": b"image,mask,split,group\n/vsicurl/http://127.0.0.1:9/a.tif,m0.tif,train,a\n",
    "outside": b"image,mask,split,group\n../../../../etc/passwd,m0.tif,train,a\n",
    "device": b"image,mask,split,group\n/dev/zero,m0.tif,train,a\n",
    "driver_name": b"image,mask,split,group\nWMS:http://127.0.0.1:9,m0.tif,train,a\n",
    "split_unknown": b"image,mask,split,group\ni0.tif,m0.tif,../evil,a\n",
    "split_of_nul": b"image,mask,split,group\ni0.tif,m0.tif,tr\x00ain,a\n",
    "split_long": b"image,mask,split,group\ni0.tif,m0.tif," + b"s" * 5000 + b",a\n",
    "million_rows": b"image,mask,split,group\n" + b"no.tif,no.tif,train,a\n" * 200_000,
    "surrogate": b"image,mask,split,group\n\xed\xa0\x80.tif,m0.tif,train,a\n",
    "name_too_long": b"image,mask,split,group\n" + b"n" * 5000 + b".tif,m0.tif,train,a\n",
}
# One row, with the ends of lines that old Macs, DOS and editors that mix them write: read as with LF, or refused.
ENDS: Texts = {
    "lone_cr": b"image,mask,split,group\ri0.tif,m0.tif,train,g0\r",
    "crlf": b"image,mask,split,group\r\ni0.tif,m0.tif,train,g0\r\n",
    "mixed": b"\r\nimage,mask,split,group\r\n\ni0.tif,m0.tif,train,g0",
}
LEGENDS: Texts = {
    "nul": b"id,name,colour\n1,a\x00,#0000ff\n2,b,#008000\n7,c,#808080\n",
    "huge_name": b"id,name,colour\n1," + b"a" * 200_000 + b",#0000ff\n2,b,#008000\n7,c,#808080\n",
    "id_huge": b"id,name,colour\n99999999999999999999999,a,#0000ff\n2,b,#008000\n",
    "id_negative": b"id,name,colour\n-1,a,#0000ff\n2,b,#008000\n",
    "id_nan": b"id,name,colour\nnan,a,#0000ff\n2,b,#008000\n",
    "id_unicode": "id,name,colour\n²,a,#0000ff\n2,b,#008000\n".encode(),
    "colour_of_style": b"id,name,colour\n1,a,#0000ff\n2,b,red;background:url(http://127.0.0.1:9/)\n7,c,#808080\n",
    "colour_short": b"id,name,colour\n1,a,#fff\n2,b,#008000\n7,c,#808080\n",
    "same_id": b"id,name,colour\n1,a,#0000ff\n1,b,#008000\n7,c,#808080\n",
    "same_name": b"id,name,colour\n1,a,#0000ff\n2,a,#008000\n7,c,#808080\n",
    "empty_name": b"id,name,colour\n1,,#0000ff\n2,b,#008000\n7,c,#808080\n",
    "many": b"id,name,colour\n" + b"".join(b"%d,c%d,#%06x\n" % (k, k, k) for k in range(5000)),
    "empty": b"",
    "binary": bytes(range(256)) * 20,
    "newline_in_name": b'id,name,colour\n1,"a\nb",#0000ff\n2,b,#008000\n7,c,#808080\n',
}
# Taken as they are: text is text, and what a page or a terminal makes of it is the page's to mind.
NAMES: dict[str, str] = {
    "formula": "=cmd|' /C calc'!A0",
    "html": "<script>alert(1)</script>",
    "escape": "a\x1b[2Jb",
    "bidi": "a\u202eb",
    "latex": r"$\frac{1}{0$",
    "braces": "{0.__class__}",
    "percent": "%s%n",
    "emoji": "🌲",
    "quote": "a'b",
    "slash": "a/b",
    "dollar": "$x$y$",
    "underscore": "_a",
}


def _pairs(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        (source / "rasters.csv").write_bytes(content)
        return Asked(place.prepare(source), ("rasters.csv",))

    return make


def _ends(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        (source / "rasters.csv").write_bytes(content)
        same = place.target / "rasters/x/1.0.0", place.world.folder / "one_row/rasters/x/1.0.0"
        return Asked(place.prepare(source), ("rasters.csv",), "accept", "records of", same)

    return make


def _legend(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        (source / "legend.csv").write_bytes(content)
        return Asked(place.prepare(source), ("legend.csv",))

    return make


def _name(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        (source / "legend.csv").write_text(f'id,name,colour\n1,"{name}",#0000ff\n2,b,#008000\n7,c,#808080\n')
        return Asked(place.prepare(source), ("legend.csv",), "either", "records of")

    return make


def _list(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.given / "list.csv"
        note = content.replace(b"mask,split,group", b"note").replace(b"m0.tif,train,a", b"note")
        path.write_bytes(note.replace(b"m0.tif,train,g0", b"note"))
        command = ["predict", f"--workdir={place.world.folder}/run", f"--scene={path}", f"--output={place.target}"]
        return Asked(command, ("list.csv", "i0.tif", "passwd", "zero", "scenes were not mapped"))

    return make


def _damaged(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        source = place.copy("source")
        how = damage.LIST[place.rng.integers(len(damage.LIST))]
        how(source / name, place.rng)
        return Asked(place.prepare(source), ("rasters.csv", "legend.csv", "i0.tif", ".tif"), "either", "records of")

    return make


def cases() -> Iterable[Case]:
    yield from (Case(f"table of images: {name}", _pairs(content)) for name, content in PAIRS.items())
    yield from (Case(f"table of images: ends {name}", _ends(content)) for name, content in ENDS.items())
    yield from (Case(f"table of classes: {name}", _legend(content)) for name, content in LEGENDS.items())
    yield from (Case(f"name of a class: {name}", _name(text)) for name, text in NAMES.items())
    yield from (Case(f"list of scenes: {name}", _list(content)) for name, content in (PAIRS | ENDS).items())
    for name in ("rasters.csv", "legend.csv"):
        yield from seeded(f"damaged {name}", _damaged(name), 12)
