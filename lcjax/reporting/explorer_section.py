"""The part of a table's section where readers look at the sample tiles: pictures side by side or under a swipe."""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from lcjax.ops.reliability import PROBABILITY_SCALE
from lcjax.plotting import figures
from lcjax.reporting import markup
from lcjax.reporting.run_reader import Evaluation
from lcjax.reporting.tables import Table

SAMPLE_ROWS = 6
# What nobody sees takes half the space of a page: shades come in steps of 4 of 256, confidence in steps of 2 %.
_SHADES, _LEVELS = 4, 5


def section(table: Table) -> Markup:
    """Returns the pictures of the records that every run kept; nothing where there are none."""
    having = [e for e in table.evaluations if e.samples]
    records, picked = shared(having) if having else ([], [])
    if not records:
        return Markup()
    first = having[0].samples
    image, truth = (first[name][picked[0]] for name in ("image", "truth"))
    runs = []
    for e, rows in zip(having, picked, strict=True):
        maps = {"prediction": [packed(one) for one in e.samples["prediction"][rows]]}
        if "confidence" in e.samples:
            levels = e.samples["confidence"][rows].astype(np.uint16)
            maps["confidence"] = [packed((one + _LEVELS // 2) // _LEVELS * _LEVELS) for one in levels]
        runs.append({"name": e.run, **maps})
    data = {
        "height": truth.shape[1],
        "width": truth.shape[2],
        "records": records,
        "image": [packed(one // _SHADES * _SHADES + _SHADES // 2) for one in image],
        "truth": [packed(one) for one in truth],
        "runs": runs,
        "classes": [{"id": i, "name": name, "colour": colour} for i, name, colour in classes(table)],
        "scored": list(table.fields["class_ids"]),
        "scale": PROBABILITY_SCALE,
    }
    return markup.titled("Look closer", markup.embedded("explorer", data, f"Sample tiles of {table.title}"))


def packed(array: np.ndarray) -> str:
    """An array of bytes, deflated, as text."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, np.uint8).tobytes(), 9)).decode()


def shared(having: Sequence[Evaluation]) -> tuple[list[str], list[list[int]]]:
    """Returns the first records that every run kept, and their rows in the samples of each run."""
    where = [{str(name): row for row, name in enumerate(e.samples["ids"])} for e in having]
    records = [name for name in where[0] if all(name in rows for rows in where)][:SAMPLE_ROWS]
    return records, [[rows[name] for name in records] for rows in where]


def classes(table: Table) -> list[tuple[int, str, str]]:
    """Returns (id, name, colour) of the classes, with colours of our own where no legend is known."""
    if table.legend is None:
        colours = figures.LINE_COLOURS
        pairs: Any = enumerate(zip(table.fields["class_ids"], table.names, strict=True))
        return [(number, name, colours[i % len(colours)]) for i, (number, name) in pairs]
    unscored = set(table.fields["ignored_ids"])
    return [
        (c.id, c.name + (" (not scored)" if c.id in unscored else ""), c.colour)
        for c in sorted(table.legend.classes, key=lambda c: c.id)
    ]
