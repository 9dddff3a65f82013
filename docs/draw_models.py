"""Draws the architectures from the code: docs/images/models/*.png, and anatomy.txt, which says the same in words.

  python docs/draw_models.py

What is drawn is what `anatomy.py` finds in the networks, of which nothing is computed. Lengths are in pixels of a page
that is 1000 wide; the files have twice as many.
"""

import io
import math
import pathlib
from collections.abc import Iterable, Sequence

import anatomy
import matplotlib
from anatomy import Network, Stage, Stream
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from PIL import Image

from data_pipelines.bands import SENSORS
from lcjax.streams import STREAMS

FOLDER = pathlib.Path(__file__).parent / "images" / "models"
WIDTH = 1000
SCALE = 2  # pixels of a file for each of the page
_POINT = 0.72  # points in a pixel of the page, which is 100 per inch

# kind -> fill, edge, name in the legend. Hues of Okabe & Ito (2008), which readers with any colour vision tell apart.
KINDS = {
    "input": ("#f0f0f0", "#777777", "image"),
    "network": ("#dfe7ef", "#44586d", "of any family"),
    "convolution": ("#d6e8f5", "#0072B2", "convolutions"),
    "attention": ("#fbe0c8", "#D55E00", "transformer blocks"),
    "resample": ("#d3efe4", "#009E73", "other resolution"),
    "join": ("#f3dfea", "#b0578c", "joined"),
    "dense": ("#fdf3c0", "#b39a00", "dense layers"),
    "head": ("#e3e1f3", "#4b3f9e", "head"),
}
_STYLE: dict = {"font.family": "DejaVu Sans", "text.parse_math": False}
_INK, _GREY = "#222222", "#777777"
_STRIP = 21.0  # height of a small step
_GAP = 24.0  # between rows
_TOP = 62  # above the first row
_RADIUS = 11


def millions(number: int) -> str:
    """Parameters: 27.19 M, 520."""
    return f"{number / 1e6:.2f} M" if number >= 5000 else f"{number:,}"


def _total(network: Network) -> str:
    return f"{millions(network.parameters)} parameters · {network.macs / 1e9:.2f} GMACs"


class Place:
    """A drawn box: its edges and its middle."""

    def __init__(self, x: float, y: float, width: float, height: float):
        self.left, self.top, self.right, self.bottom = x - width / 2, y, x + width / 2, y + height
        self.x, self.y = x, y + height / 2


class Canvas:
    """A page of boxes, texts and arrows; x goes to the right and y down, in pixels."""

    def __init__(self, height: float):
        self.height = height
        self.figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=100 * SCALE)
        self.pen = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        self.axes.axis("off")
        self._texts: list = []

    def text(self, x, y, words, size=10.5, *, colour=_INK, weight="normal", align="center", inside=None, **how):
        """Words with their middle at that height; `inside` is the place that must hold them."""
        drawn = self.axes.text(
            x,
            y,
            words,
            size=size * _POINT,
            color=colour,
            weight=weight,
            ha=align,
            va="center_baseline",
            zorder=4,
            **how,
        )
        self._texts.append((drawn, inside or Place(WIDTH / 2, 0, WIDTH, self.height)))

    def box(self, place: Place, kind: str, lines: Sequence[tuple[str, str]] = ()) -> Place:
        """A box of a kind, with lines of (words, weight)."""
        fill, edge, _ = KINDS[kind]
        self.axes.add_patch(
            FancyBboxPatch(
                (place.left, place.top),
                place.right - place.left,
                place.bottom - place.top,
                boxstyle="round,pad=0,rounding_size=4",
                facecolor=fill,
                edgecolor=edge,
                linewidth=0.9,
                zorder=3,
            )
        )
        step = 14
        for i, (words, weight) in enumerate(lines):
            y = place.y + (i - (len(lines) - 1) / 2) * step
            self.text(place.x, y, words, 11 if weight == "bold" else 10, weight=weight, inside=place)
        return place

    def arrow(self, points: Sequence[tuple[float, float]], *, skip: bool = False, end: bool = True) -> None:
        """A line from point to point with a head at the last; that of a skip is dashed."""
        style = "-|>,head_length=4,head_width=2.2" if end else "-"
        self.axes.add_patch(
            FancyArrowPatch(
                path=Path(points),
                arrowstyle=style,
                color=_GREY if skip else _INK,
                linewidth=1.0,
                linestyle=(0, (3.5, 2)) if skip else "-",
                shrinkA=0,
                shrinkB=0,
                joinstyle="miter",
                capstyle="butt",
                zorder=2,
            )
        )

    def skip(self, source: Place, target: Place) -> None:
        """A dashed arrow between sides that face each other: straight where it can be."""
        side = 1 if target.x > source.x else -1
        start, end = (source.right, target.left) if side > 0 else (source.left, target.right)
        turn = start + min(14, abs(end - start) / 3) * side
        straight = source.top + 4 < target.y < source.bottom - 4
        bend = [] if straight else [(start, source.y), (turn, source.y), (turn, target.y)]
        self.arrow([*(bend or [(start, target.y)]), (end, target.y)], skip=True)

    def node(self, x: float, y: float, words: str, kind: str = "join") -> Place:
        """A small circle."""
        fill, edge, _ = KINDS[kind]
        self.axes.add_patch(Circle((x, y), _RADIUS, facecolor=fill, edgecolor=edge, linewidth=0.9, zorder=3))
        self.text(x, y, words, 13, weight="bold", colour=edge)
        return Place(x, y - _RADIUS, 2 * _RADIUS, 2 * _RADIUS)

    def tall(self, place: Place, kind: str, words: str) -> Place:
        """A box with upright words."""
        self.box(place, kind)
        self.text(place.x, place.y, words, 10.5, rotation=90, inside=place, rotation_mode="anchor")
        return place

    def title(self, words: str, below: str, right: str) -> None:
        """The two lines at the top."""
        self.text(24, 20, words, 15, weight="bold", align="left")
        self.text(24, 40, below, 10.5, colour=_GREY, align="left", family="DejaVu Sans Mono")
        self.text(WIDTH - 24, 20, right, 12, weight="bold", align="right")
        if right:
            self.text(WIDTH - 24, 40, "rows × columns × channels · parameters", 10, align="right", colour=_GREY)

    def legend(self, kinds: Iterable[str], extra: str = "") -> None:
        """What the colours say."""
        x, y = 24.0, self.height - 18
        for kind in (kind for kind in KINDS if kind in set(kinds)):
            fill, edge, name = KINDS[kind]
            self.axes.add_patch(Rectangle((x, y - 6), 18, 11, facecolor=fill, edgecolor=edge, linewidth=0.9))
            self.text(x + 24, y, name, 10, align="left", colour=_GREY)
            x += 42 + 6.1 * len(name)
        if extra:
            self.arrow([(x, y), (x + 26, y)], skip=True)
            self.text(x + 33, y, extra, 10, align="left", colour=_GREY)
            x += 42 + 6.1 * len(extra)

    def png(self) -> bytes:
        """The page. Raises ValueError where words leave their box."""
        self.pen.draw()
        for drawn, place in self._texts:
            extent = drawn.get_window_extent()
            left, right = extent.x0 / SCALE, extent.x1 / SCALE
            top, bottom = self.height - extent.y1 / SCALE, self.height - extent.y0 / SCALE
            if left < place.left or right > place.right or top < place.top - 1 or bottom > place.bottom + 1:
                raise ValueError(
                    f"{drawn.get_text()!r} does not fit: {right - left:.0f} of {place.right - place.left:.0f}"
                )
        image = Image.frombytes("RGBA", self.pen.get_width_height(physical=True), bytes(self.pen.buffer_rgba()))
        file = io.BytesIO()
        # Flat colours and the edges between them: a palette holds them in a third of the bytes.
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        return file.getvalue()


def _lines(stage: Stage) -> list[tuple[str, str]]:
    details = stage.main.detail.split("\n") if stage.main.detail else []
    counted = [millions(stage.parameters)] if stage.parameters else []
    last = " · ".join([anatomy.shape_text(stage.shape), *counted])
    return [(stage.main.title, "bold"), *((detail, "normal") for detail in details), (last, "normal")]


def _main_height(stage: Stage) -> float:
    return 14 * len(_lines(stage)) + 14


def _height(stage: Stage) -> float:
    return _main_height(stage) + _STRIP * len(stage.before)


class Widths:
    """Width of a box by its channels: one step more for each doubling."""

    def __init__(self, stages: Iterable[Stage], least: float, most: float):
        steps = [math.log2(stage.shape[-1]) for stage in stages]
        self.low, self.high, self.least, self.most = min(steps), max(steps), least, most

    def __call__(self, stage: Stage) -> float:
        share = (math.log2(stage.shape[-1]) - self.low) / ((self.high - self.low) or 1)
        return self.least + share * (self.most - self.least)


def _down(canvas: Canvas, x: float, top: float, stage: Stage, width: float) -> list[Place]:
    """A stage whose steps follow each other downwards: the places of the small steps, then of the main one."""
    places = []
    for step in stage.before:
        places.append(canvas.box(Place(x, top, width, _STRIP), step.kind, [(step.title, "normal")]))
        top += _STRIP
    places.append(canvas.box(Place(x, top, width, _main_height(stage)), stage.main.kind, _lines(stage)))
    return places


def _up(canvas: Canvas, x: float, top: float, stage: Stage, width: float) -> list[Place]:
    """The same, upwards; places in the order of the steps."""
    main = canvas.box(Place(x, top, width, _main_height(stage)), stage.main.kind, _lines(stage))
    below = main.bottom
    places = [main]
    for step in reversed(stage.before):
        places.append(canvas.box(Place(x, below, width, _STRIP), step.kind, [(step.title, "normal")]))
        below += _STRIP
    return places[::-1]


def _image(stream: Stream) -> list[tuple[str, str]]:
    return [
        (" + ".join(sensor.upper() for sensor in stream.sensors), "bold"),
        (anatomy.shape_text(stream.shape), "normal"),
    ]


def _rows(network: Network, columns: Iterable[Sequence[Stage]]) -> tuple[dict[int, float], dict[int, float], float]:
    """Top and height of the row of each stride, 0 being that of image and head, and the height of the page."""
    heights = {0: max(46, _height(network.head))}
    for stages in columns:
        for stage in stages:
            heights[stage.stride] = max(heights.get(stage.stride, 0), _height(stage))
    tops, y = {}, float(_TOP)
    for stride in sorted(heights):
        tops[stride] = y
        y += heights[stride] + _GAP
    return tops, heights, y + 24


def _stride_labels(canvas: Canvas, tops: dict[int, float], heights: dict[int, float]) -> None:
    for stride in tops:
        if stride:
            canvas.text(24, tops[stride] + heights[stride] / 2, f"stride {stride}", 10, colour=_GREY, align="left")


def _kinds(network: Network) -> set[str]:
    stages = [*(stage for stream in network.streams for stage in stream.stages()), network.head]
    return {"input"} | {step.kind for stage in stages for step in (*stage.before, stage.main)}


def _encoder(canvas, stream, x, tops, heights, widths) -> dict[int, list[Place]]:
    """A column of stages below an image; places by stride."""
    image = canvas.box(Place(x, tops[0] + heights[0] - 46, 150, 46), "input", _image(stream))
    above, places = image, {}
    for stage in stream.encoder:
        top = tops[stage.stride] + (heights[stage.stride] - _height(stage)) / 2
        places[stage.stride] = _down(canvas, x, top, stage, widths(stage))
        canvas.arrow([(x, above.bottom), (x, top)])
        above = places[stage.stride][-1]
    return places


def draw_u(title: str, network: Network) -> bytes:
    """Encoders outside, decoders inside, the head above where they meet."""
    stages = [stage for stream in network.streams for stage in (*stream.encoder, *stream.decoder)]
    tops, heights, height = _rows(network, [stages])
    canvas = Canvas(height)
    canvas.title(title, f"--config=configs/dfc2020.py:{network.argument}", _total(network))
    _stride_labels(canvas, tops, heights)
    two = len(network.streams) > 1
    widths = Widths(stages, *((158, 196) if two else (210, 310)))
    columns = [(182, 422), (878, 638)] if two else [(300, 740)]
    ends = []
    for stream, (x, inner) in zip(network.streams, columns, strict=True):
        side = 1 if inner > x else -1
        encoder = _encoder(canvas, stream, x, tops, heights, widths)
        below = encoder[stream.encoder[-1].stride][-1]
        for stage in stream.decoder:
            places = _up(canvas, inner, tops[stage.stride], stage, widths(stage))
            if stage is stream.decoder[0]:
                start = below.right if side > 0 else below.left
                canvas.arrow([(start, below.y), (inner, below.y), (inner, places[0].bottom)])
            else:
                canvas.arrow([(inner, below.top), (inner, places[0].bottom)])
            below = places[-1]
            if not stage.skip:
                continue
            source = next(s for s in stream.encoder if s.stride == stage.stride)
            join = next(p for p, step in zip(places, stage.before, strict=False) if step.kind == "join")
            leaves = encoder[stage.stride][-2 if source.skip == "before" else -1]
            canvas.skip(leaves, join)
        ends.append(below)
    centre = sum(end.x for end in ends) / len(ends)
    head_top = tops[0] + heights[0] - _height(network.head)
    head = _up(canvas, centre, head_top, network.head, 180)[0]
    for end in ends:
        corner = [(centre, head.bottom)] if len(ends) == 1 else [(end.x, head.y), (_beside(head, end.x), head.y)]
        canvas.arrow([(end.x, end.top), *corner])
    canvas.legend(_kinds(network), "skip")
    return canvas.png()


def _beside(place: Place, x: float) -> float:
    """The edge of a place that faces x."""
    return place.left if x < place.x else place.right


def draw_pyramid(title: str, network: Network) -> bytes:
    """An encoder, a feature pyramid beside it, and what joins the pyramid."""
    (stream,) = network.streams
    tops, heights, height = _rows(network, [stream.encoder, stream.decoder[:1]])
    canvas = Canvas(height)
    canvas.title(title, f"--config=configs/dfc2020.py:{network.argument}", _total(network))
    trunk = stream.trunk[0] if stream.trunk else None
    if not trunk:
        _stride_labels(canvas, tops, heights)
    first, last = min(heights.keys() - {0}), max(heights)
    widths = Widths(stream.encoder, 160, 168) if trunk else Widths(stream.encoder, 158, 196)
    trunk_x, x = 109, 331 if trunk else 215
    lateral_x, sum_x, smooth_x = (507, 594, 692) if trunk else (420, 518, 640)
    lateral_w, smooth_w = (112, 132) if trunk else (116, 160)
    concat_x, fuse_x, fuse_w = (792, 897, 156) if trunk else (752, 876, 196)
    low, high = tops[first], tops[last] + heights[last]
    if trunk:
        place = Place(trunk_x, low, 170, high - low)
        image = canvas.box(Place(trunk_x, tops[0] + heights[0] - 46, 150, 46), "input", _image(stream))
        before = [Place(trunk_x, low + _STRIP * i, 170, _STRIP) for i in range(len(trunk.before))]
        for at, step in zip(before, trunk.before, strict=True):
            canvas.box(at, step.kind, [(step.title, "normal")])
        body = canvas.box(
            Place(trunk_x, before[-1].bottom, 170, high - before[-1].bottom), trunk.main.kind, _lines(trunk)
        )
        canvas.arrow([(trunk_x, image.bottom), (trunk_x, place.top)])
        encoder = {}
        for stage in stream.encoder:
            top = tops[stage.stride] + (heights[stage.stride] - _height(stage)) / 2
            encoder[stage.stride] = _down(canvas, x, top, stage, widths(stage))
            level = encoder[stage.stride][-1]
            canvas.arrow([(body.right, level.y), (level.left, level.y)])
            canvas.text(body.right + 4, level.y - 9, f"stride {stage.stride}", 10, colour=_GREY, align="left")
    else:
        encoder = _encoder(canvas, stream, x, tops, heights, widths)
    concat = Place(concat_x, low, 26, high - low)
    fuse = stream.fuse[0]
    canvas.tall(concat, "join", f"{fuse.before[0].title}; {fuse.before[1].title}")
    body = canvas.box(Place(fuse_x, low, fuse_w, high - low), fuse.main.kind, _lines(fuse))
    canvas.arrow([(concat.right, body.y), (body.left, body.y)])
    above = None
    for stage in stream.decoder:
        source = encoder[stage.stride][-1]
        if above is None:
            left, right = lateral_x - lateral_w / 2, smooth_x + smooth_w / 2
            top = tops[stage.stride] + (heights[stage.stride] - _height(stage)) / 2
            pooling, main = _up(canvas, (left + right) / 2, top, stage, right - left)
            canvas.skip(source, pooling)
            canvas.arrow([(main.right, main.y), (concat.left, main.y)])
            above = Place(sum_x, main.top, 0, 0)
            continue
        y = source.y
        convolution, _ = stage.before
        lateral = Place(lateral_x, y - 20, lateral_w, 40)
        canvas.box(lateral, convolution.kind, [(convolution.title, "bold"), (convolution.detail, "normal")])
        plus = canvas.node(sum_x, y, "+")
        smooth = canvas.box(
            Place(smooth_x, y - 30, smooth_w, 60),
            stage.main.kind,
            [*_lines(stage)[:-1], (anatomy.shape_text(stage.shape), "normal")],
        )
        canvas.arrow([(source.right, y), (lateral.left, y)], skip=True)
        canvas.arrow([(lateral.right, y), (plus.left, y)])
        canvas.arrow([(plus.right, y), (smooth.left, y)])
        canvas.arrow([(smooth.right, y), (concat.left, y)])
        canvas.arrow([(sum_x, above.top), (sum_x, plus.bottom)])
        canvas.text(sum_x - 6, (above.top + lateral.bottom) / 2, "bilinear ×2", 10, colour=_GREY, align="right")
        above = plus
    head_top = tops[0] + heights[0] - _height(network.head)
    head = _up(canvas, fuse_x, head_top, network.head, fuse_w)[0]
    canvas.arrow([(fuse_x, body.top), (fuse_x, head.bottom)])
    canvas.legend(_kinds(network), "feature of the encoder")
    return canvas.png()


def draw_contrastive(title: str, network: Network) -> bytes:
    """Two encoders from left to right, and the matrix of similarities that the loss is made of."""
    canvas = Canvas(490)
    canvas.title(title, f"--config=configs/pretrain.py:{network.argument}", _total(network))
    half, right, ends = 0.0, 0.0, []
    for number, stream in enumerate(network.streams):
        y = 160 + 190 * number
        before = canvas.box(Place(68, y - 23, 88, 46), "input", _image(stream))
        for i, stage in enumerate(stream.encoder):
            half = 80 - 8 * i
            strip = Place(before.right + 16 + _STRIP / 2, y - half, _STRIP, 2 * half)
            canvas.tall(strip, stage.before[0].kind, stage.before[0].title)
            canvas.arrow([(before.right, y), (strip.left, y)])
            before = Place(strip.right + 50, y - half, 100, 2 * half)
            canvas.box(before, stage.main.kind, _narrow(stage))
        for step in network.head.before:
            right = before.right + (0 if step is not network.head.before[0] else 16)
            strip = Place(right + _STRIP / 2, y - 68, _STRIP, 136)
            canvas.tall(strip, step.kind, step.title)
            if step is network.head.before[0]:
                canvas.arrow([(before.right, y), (strip.left, y)])
            before = strip
        ends.append(before)
    _similarities(canvas, network, ends)
    canvas.legend(_kinds(network))
    return canvas.png()


def _narrow(stage: Stage) -> list[tuple[str, str]]:
    """The lines of a box, details below each other."""
    (title, _), *details, (last, _) = _lines(stage)
    parts = [part for words in (*(detail for detail, _ in details), last) for part in words.split(" · ")]
    return [(title, "bold"), *((part, "normal") for part in parts)]


_PLACES = 4  # of the batch that the matrix shows


def _similarities(canvas: Canvas, network: Network, ends: Sequence[Place]) -> None:
    """Every embedding with every other: the same place seen by the other sensor is the one to be found."""
    size = 2 * _PLACES
    cell, left = 15.0, 836.0
    top = (ends[0].y + ends[1].y) / 2 - cell * size / 2
    fill, edge, _ = KINDS["head"]
    for row in range(size):
        for column in range(size):
            itself, positive = row == column, abs(row - column) == _PLACES
            colour = "white" if itself else edge if positive else fill
            at = (left + cell * column, top + cell * row)
            canvas.axes.add_patch(
                Rectangle(at, cell, cell, facecolor=colour, edgecolor="white", linewidth=0.8, zorder=3)
            )
    canvas.axes.add_patch(
        Rectangle((left, top), cell * size, cell * size, facecolor="none", edgecolor=edge, linewidth=0.9, zorder=3)
    )
    for number, (end, stream) in enumerate(zip(ends, network.streams, strict=True)):
        name, middle = stream.sensors[0].upper(), cell * _PLACES * (number + 0.5)
        y = top + middle
        turn = end.right + 34
        canvas.arrow([(end.right, end.y), (turn, end.y), (turn, y), (left - 4, y)])
        canvas.text(left + middle, top - 9, name, 10, colour=_GREY)
        canvas.text(left + cell * size + 12, y, name, 10, colour=_GREY)
        canvas.text(end.right + 17, end.y - 9, anatomy.shape_text(network.head.shape), 10)
    x = left + cell * size / 2
    canvas.text(x, top - 44, network.head.main.title, 12, weight="bold")
    canvas.text(x, top - 28, network.head.main.detail, 10)
    for i, (words, colour) in enumerate(
        [("the same place: pulled together", edge), ("all others: pushed apart", fill)]
    ):
        y = ends[-1].y + 22 + 17 * i
        canvas.axes.add_patch(Rectangle((796, y - 5), 10, 10, facecolor=colour, edgecolor=edge, linewidth=0.6))
        canvas.text(812, y, words, 10, align="left")


_FUSIONS = {"s1": "S1 alone", "s2": "S2 alone", "early": "early fusion", "late": "late fusion"}


@matplotlib.rc_context(_STYLE)
def draw_fusion() -> bytes:
    """Four ways of `config.fusion`: what stands side by side, and where."""
    canvas = Canvas(470)
    canvas.title("Fusion of sensors", "--config=configs/dfc2020.py:fusion=...", "")
    for number, (fusion, words) in enumerate(_FUSIONS.items()):
        streams = STREAMS[fusion]
        middle = 138 + 241 * number
        canvas.text(middle, 76, words, 12, weight="bold")
        canvas.text(middle, 93, f"fusion={fusion}", 10, colour=_GREY, family="DejaVu Sans Mono")
        xs = [middle + 112 * (i - (len(streams) - 1) / 2) for i in range(len(streams))]
        ends = []
        for x, sensors in zip(xs, streams.values(), strict=True):
            bands = [len(SENSORS[sensor].bands) for sensor in sensors]
            encoder = Place(x, 226 if len(sensors) > 1 else 206, 104, 46 if len(sensors) > 1 else 66)
            entry = encoder.top
            if len(sensors) > 1:
                entry = 205
                added = " + ".join(map(str, bands))
                canvas.box(Place(x, entry, 104, _STRIP), "join", [(f"concat: {added}", "normal")])
            canvas.box(encoder, "network", [("encoder", "bold"), (f"{sum(bands)} bands", "normal")])
            for i, (sensor, count) in enumerate(zip(sensors, bands, strict=True)):
                at = x + 112 * (i - (len(sensors) - 1) / 2)
                image = canvas.box(
                    Place(at, 118, 96, 46), "input", [(sensor.upper(), "bold"), (f"{count} bands", "normal")]
                )
                turn = (image.bottom + entry) / 2
                foot = x + 40 * (i - (len(sensors) - 1) / 2)
                canvas.arrow([(at, image.bottom), (at, turn), (foot, turn), (foot, entry)])
            decoder = canvas.box(Place(x, 296, 104, 40), "network", [("decoder", "bold")])
            canvas.arrow([(x, encoder.bottom), (x, decoder.top)])
            ends.append(decoder)
        head = Place(middle, 386, 104, 34)
        entry = head.top
        if len(ends) > 1:
            entry = head.top - _STRIP
            canvas.box(Place(middle, entry, 104, _STRIP), "join", [("concat", "normal")])
        canvas.box(head, "head", [("head", "bold")])
        for end in ends:
            turn = (end.bottom + entry) / 2
            foot = middle + (end.x - middle) * 0.36
            canvas.arrow([(end.x, end.bottom), (end.x, turn), (foot, turn), (foot, entry)])
    canvas.legend({"input", "network", "join", "head"})
    return canvas.png()


@matplotlib.rc_context(_STYLE)
def picture(name: str, network: Network) -> bytes:
    """The picture of a network, as PNG."""
    title, find, _ = anatomy.NETWORKS[name]
    if find is anatomy.contrastive:
        return draw_contrastive(title, network)
    return (draw_pyramid if network.streams[0].fuse else draw_u)(title, network)


def main() -> None:
    """Writes all pictures and the text."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {name: anatomy.network(name) for name in anatomy.NETWORKS}
    for name, network in found.items():
        (FOLDER / f"{name}.png").write_bytes(picture(name, network))
    (FOLDER / "fusion.png").write_bytes(draw_fusion())
    (FOLDER / "anatomy.txt").write_text("\n".join(anatomy.text(name, network) for name, network in found.items()))


if __name__ == "__main__":
    main()
