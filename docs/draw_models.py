"""Draws the architectures from the code: docs/images/models/*.png, and anatomy.txt, which says the same in words.

  python docs/draw_models.py

What is drawn is what `anatomy.py` finds in the networks, of which nothing is computed.
"""

import pathlib
from collections.abc import Sequence

import anatomy
import boxes
import matplotlib
from canvas import GREY, KINDS, STYLE, Canvas, Place
from matplotlib.patches import Rectangle
from stages import Network, Stage, shape_text, text

from data_pipelines.schema.sensors import S1, S2, SENSORS
from lcjax.tasks.fusion import streams_of

FOLDER = pathlib.Path(__file__).parent / "images" / "models"


def draw_u(title: str, network: Network) -> bytes:
    """Encoders outside, decoders inside, the head above where they meet."""
    stages = [stage for stream in network.streams for stage in (*stream.encoder, *stream.decoder)]
    tops, heights, height = boxes.rows(network, [stages])
    canvas = Canvas(height)
    canvas.title(title, f"--config=dfc2020:{network.argument}", boxes.total(network))
    boxes.stride_labels(canvas, tops, heights)
    two = len(network.streams) > 1
    widths = boxes.Widths(stages, *((158, 196) if two else (210, 310)))
    columns = [(182, 422), (878, 638)] if two else [(300, 740)]
    ends = []
    for stream, (x, inner) in zip(network.streams, columns, strict=True):
        side = 1 if inner > x else -1
        encoder = boxes.encoder_column(canvas, stream, x, tops, heights, widths)
        below = encoder[stream.encoder[-1].stride][-1]
        for stage in stream.decoder:
            places = boxes.up(canvas, inner, tops[stage.stride], stage, widths(stage))
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
    head_top = tops[0] + heights[0] - boxes.height(network.head)
    head = boxes.up(canvas, centre, head_top, network.head, 180)[0]
    for end in ends:
        corner = [(centre, head.bottom)] if len(ends) == 1 else [(end.x, head.y), (_beside(head, end.x), head.y)]
        canvas.arrow([(end.x, end.top), *corner])
    canvas.legend(boxes.kinds(network), "skip")
    return canvas.png()


def _beside(place: Place, x: float) -> float:
    """The edge of a place that faces x."""
    return place.left if x < place.x else place.right


def draw_pyramid(title: str, network: Network) -> bytes:
    """An encoder, a feature pyramid beside it, and what joins the pyramid."""
    (stream,) = network.streams
    tops, heights, height = boxes.rows(network, [stream.encoder, stream.decoder[:1]])
    canvas = Canvas(height)
    canvas.title(title, f"--config=dfc2020:{network.argument}", boxes.total(network))
    trunk = stream.trunk[0] if stream.trunk else None
    if not trunk:
        boxes.stride_labels(canvas, tops, heights)
    first, last = min(heights.keys() - {0}), max(heights)
    widths = boxes.Widths(stream.encoder, 160, 168) if trunk else boxes.Widths(stream.encoder, 158, 196)
    trunk_x, x = 109, 331 if trunk else 215
    lateral_x, sum_x, smooth_x = (507, 594, 692) if trunk else (420, 518, 640)
    lateral_w, smooth_w = (112, 132) if trunk else (116, 160)
    concat_x, fuse_x, fuse_w = (792, 897, 156) if trunk else (752, 876, 196)
    low, high = tops[first], tops[last] + heights[last]
    if trunk:
        place = Place(trunk_x, low, 170, high - low)
        image = canvas.box(Place(trunk_x, tops[0] + heights[0] - 46, 150, 46), "input", boxes.image_lines(stream))
        before = [Place(trunk_x, low + boxes.STRIP * i, 170, boxes.STRIP) for i in range(len(trunk.before))]
        for at, step in zip(before, trunk.before, strict=True):
            canvas.box(at, step.kind, [(step.title, "normal")])
        body = canvas.box(
            Place(trunk_x, before[-1].bottom, 170, high - before[-1].bottom), trunk.main.kind, boxes.lines(trunk)
        )
        canvas.arrow([(trunk_x, image.bottom), (trunk_x, place.top)])
        encoder = {}
        for stage in stream.encoder:
            top = tops[stage.stride] + (heights[stage.stride] - boxes.height(stage)) / 2
            encoder[stage.stride] = boxes.down(canvas, x, top, stage, widths(stage))
            level = encoder[stage.stride][-1]
            canvas.arrow([(body.right, level.y), (level.left, level.y)])
            canvas.text(body.right + 4, level.y - 9, f"stride {stage.stride}", 10, colour=GREY, align="left")
    else:
        encoder = boxes.encoder_column(canvas, stream, x, tops, heights, widths)
    concat = Place(concat_x, low, 26, high - low)
    fuse = stream.fuse[0]
    canvas.tall(concat, "join", f"{fuse.before[0].title}; {fuse.before[1].title}")
    body = canvas.box(Place(fuse_x, low, fuse_w, high - low), fuse.main.kind, boxes.lines(fuse))
    canvas.arrow([(concat.right, body.y), (body.left, body.y)])
    above = None
    for stage in stream.decoder:
        source = encoder[stage.stride][-1]
        if above is None:
            left, right = lateral_x - lateral_w / 2, smooth_x + smooth_w / 2
            top = tops[stage.stride] + (heights[stage.stride] - boxes.height(stage)) / 2
            pooling, main = boxes.up(canvas, (left + right) / 2, top, stage, right - left)
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
            [*boxes.lines(stage)[:-1], (shape_text(stage.shape), "normal")],
        )
        canvas.arrow([(source.right, y), (lateral.left, y)], skip=True)
        canvas.arrow([(lateral.right, y), (plus.left, y)])
        canvas.arrow([(plus.right, y), (smooth.left, y)])
        canvas.arrow([(smooth.right, y), (concat.left, y)])
        canvas.arrow([(sum_x, above.top), (sum_x, plus.bottom)])
        canvas.text(sum_x - 6, (above.top + lateral.bottom) / 2, "bilinear ×2", 10, colour=GREY, align="right")
        above = plus
    head_top = tops[0] + heights[0] - boxes.height(network.head)
    head = boxes.up(canvas, fuse_x, head_top, network.head, fuse_w)[0]
    canvas.arrow([(fuse_x, body.top), (fuse_x, head.bottom)])
    canvas.legend(boxes.kinds(network), "feature of the encoder")
    return canvas.png()


def draw_contrastive(title: str, network: Network) -> bytes:
    """Two encoders from left to right, and the matrix of similarities that the loss is made of."""
    canvas = Canvas(490)
    canvas.title(title, f"--config=pretrain:{network.argument}", boxes.total(network))
    half, right, ends = 0.0, 0.0, []
    for number, stream in enumerate(network.streams):
        y = 160 + 190 * number
        before = canvas.box(Place(68, y - 23, 88, 46), "input", boxes.image_lines(stream))
        for i, stage in enumerate(stream.encoder):
            half = 80 - 8 * i
            strip = Place(before.right + 16 + boxes.STRIP / 2, y - half, boxes.STRIP, 2 * half)
            canvas.tall(strip, stage.before[0].kind, stage.before[0].title)
            canvas.arrow([(before.right, y), (strip.left, y)])
            before = Place(strip.right + 50, y - half, 100, 2 * half)
            canvas.box(before, stage.main.kind, _narrow(stage))
        for step in network.head.before:
            right = before.right + (0 if step is not network.head.before[0] else 16)
            strip = Place(right + boxes.STRIP / 2, y - 68, boxes.STRIP, 136)
            canvas.tall(strip, step.kind, step.title)
            if step is network.head.before[0]:
                canvas.arrow([(before.right, y), (strip.left, y)])
            before = strip
        ends.append(before)
    _similarities(canvas, network, ends)
    canvas.legend(boxes.kinds(network))
    return canvas.png()


def _narrow(stage: Stage) -> list[tuple[str, str]]:
    """The lines of a box, details below each other."""
    (title, _), *details, (last, _) = boxes.lines(stage)
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
        canvas.text(left + middle, top - 9, name, 10, colour=GREY)
        canvas.text(left + cell * size + 12, y, name, 10, colour=GREY)
        canvas.text(end.right + 17, end.y - 9, shape_text(network.head.shape), 10)
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


@matplotlib.rc_context(STYLE)
def draw_fusion() -> bytes:
    """Four ways of `config.fusion`: what stands side by side, and where."""
    canvas = Canvas(470)
    canvas.title("Fusion of sensors", "--config=dfc2020:fusion=...", "")
    for number, (fusion, words) in enumerate(_FUSIONS.items()):
        streams = streams_of(fusion, (S1, S2))
        middle = 138 + 241 * number
        canvas.text(middle, 76, words, 12, weight="bold")
        canvas.text(middle, 93, f"fusion={fusion}", 10, colour=GREY, family="DejaVu Sans Mono")
        xs = [middle + 112 * (i - (len(streams) - 1) / 2) for i in range(len(streams))]
        ends = []
        for x, stream in zip(xs, streams.values(), strict=True):
            sensors = stream.sensors
            bands = [len(SENSORS[sensor].bands) for sensor in sensors]
            encoder = Place(x, 226 if len(sensors) > 1 else 206, 104, 46 if len(sensors) > 1 else 66)
            entry = encoder.top
            if len(sensors) > 1:
                entry = 205
                added = " + ".join(map(str, bands))
                canvas.box(Place(x, entry, 104, boxes.STRIP), "join", [(f"concat: {added}", "normal")])
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
            entry = head.top - boxes.STRIP
            canvas.box(Place(middle, entry, 104, boxes.STRIP), "join", [("concat", "normal")])
        canvas.box(head, "head", [("head", "bold")])
        for end in ends:
            turn = (end.bottom + entry) / 2
            foot = middle + (end.x - middle) * 0.36
            canvas.arrow([(end.x, end.bottom), (end.x, turn), (foot, turn), (foot, entry)])
    canvas.legend({"input", "network", "join", "head"})
    return canvas.png()


@matplotlib.rc_context(STYLE)
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
    (FOLDER / "anatomy.txt").write_text("\n".join(text(name, network) for name, network in found.items()))


if __name__ == "__main__":
    main()
