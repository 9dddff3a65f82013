"""Stages of networks as boxes on a canvas, one below the other."""

import math
from collections.abc import Iterable, Sequence

from canvas import GREY, Canvas, Place
from stages import Network, Stage, Stream, shape_text

STRIP = 21.0  # height of a small step
_GAP = 24.0  # between rows
_TOP = 62  # above the first row


def millions(number: int) -> str:
    """Parameters: 27.19 M, 520."""
    return f"{number / 1e6:.2f} M" if number >= 5000 else f"{number:,}"


def total(network: Network) -> str:
    """What a network costs."""
    return f"{millions(network.parameters)} parameters · {network.macs / 1e9:.2f} GMACs"


def lines(stage: Stage) -> list[tuple[str, str]]:
    """Of the box of a stage's main step."""
    details = stage.main.detail.split("\n") if stage.main.detail else []
    counted = [millions(stage.parameters)] if stage.parameters else []
    last = " · ".join([shape_text(stage.shape), *counted])
    return [(stage.main.title, "bold"), *((detail, "normal") for detail in details), (last, "normal")]


def _main_height(stage: Stage) -> float:
    return 14 * len(lines(stage)) + 14


def height(stage: Stage) -> float:
    """Of all boxes of a stage."""
    return _main_height(stage) + STRIP * len(stage.before)


class Widths:
    """Width of a box by its channels: one step more for each doubling."""

    def __init__(self, stages: Iterable[Stage], least: float, most: float):
        steps = [math.log2(stage.shape[-1]) for stage in stages]
        self.low, self.high, self.least, self.most = min(steps), max(steps), least, most

    def __call__(self, stage: Stage) -> float:
        """Returns the width of the box of a stage."""
        share = (math.log2(stage.shape[-1]) - self.low) / ((self.high - self.low) or 1)
        return self.least + share * (self.most - self.least)


def down(canvas: Canvas, x: float, top: float, stage: Stage, width: float) -> list[Place]:
    """A stage whose steps follow each other downwards: the places of the small steps, then of the main one."""
    places = []
    for step in stage.before:
        places.append(canvas.box(Place(x, top, width, STRIP), step.kind, [(step.title, "normal")]))
        top += STRIP
    places.append(canvas.box(Place(x, top, width, _main_height(stage)), stage.main.kind, lines(stage)))
    return places


def up(canvas: Canvas, x: float, top: float, stage: Stage, width: float) -> list[Place]:
    """The same, upwards; places in the order of the steps."""
    main = canvas.box(Place(x, top, width, _main_height(stage)), stage.main.kind, lines(stage))
    below = main.bottom
    places = [main]
    for step in reversed(stage.before):
        places.append(canvas.box(Place(x, below, width, STRIP), step.kind, [(step.title, "normal")]))
        below += STRIP
    return places[::-1]


def image_lines(stream: Stream) -> list[tuple[str, str]]:
    """Of the box of an image."""
    return [
        (" + ".join(sensor.upper() for sensor in stream.sensors), "bold"),
        (shape_text(stream.shape), "normal"),
    ]


def rows(network: Network, columns: Iterable[Sequence[Stage]]) -> tuple[dict[int, float], dict[int, float], float]:
    """Top and height of the row of each stride, 0 being that of image and head, and the height of the page."""
    heights = {0: max(46, height(network.head))}
    for stages in columns:
        for stage in stages:
            heights[stage.stride] = max(heights.get(stage.stride, 0), height(stage))
    tops, y = {}, float(_TOP)
    for stride in sorted(heights):
        tops[stride] = y
        y += heights[stride] + _GAP
    return tops, heights, y + 24


def stride_labels(canvas: Canvas, tops: dict[int, float], heights: dict[int, float]) -> None:
    """Names the rows at the left edge."""
    for stride in tops:
        if stride:
            canvas.text(24, tops[stride] + heights[stride] / 2, f"stride {stride}", 10, colour=GREY, align="left")


def kinds(network: Network) -> set[str]:
    """Those of its steps, for the legend."""
    stages = [*(stage for stream in network.streams for stage in stream.stages()), network.head]
    return {"input"} | {step.kind for stage in stages for step in (*stage.before, stage.main)}


def encoder_column(canvas, stream, x, tops, heights, widths) -> dict[int, list[Place]]:
    """A column of stages below an image; places by stride."""
    image = canvas.box(Place(x, tops[0] + heights[0] - 46, 150, 46), "input", image_lines(stream))
    above, places = image, {}
    for stage in stream.encoder:
        top = tops[stage.stride] + (heights[stage.stride] - height(stage)) / 2
        places[stage.stride] = down(canvas, x, top, stage, widths(stage))
        canvas.arrow([(x, above.bottom), (x, top)])
        above = places[stage.stride][-1]
    return places
