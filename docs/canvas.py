"""A page of boxes, texts and arrows. Lengths are in pixels of a page that is 1000 wide; files have twice as many."""

import io
from collections.abc import Iterable, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from PIL import Image

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
STYLE: dict = {"font.family": "DejaVu Sans", "text.parse_math": False}
INK, GREY = "#222222", "#777777"
_RADIUS = 11


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

    def text(self, x, y, words, size=10.5, *, colour=INK, weight="normal", align="center", inside=None, **how):
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
                color=GREY if skip else INK,
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
        self.text(24, 40, below, 10.5, colour=GREY, align="left", family="DejaVu Sans Mono")
        self.text(WIDTH - 24, 20, right, 12, weight="bold", align="right")
        if right:
            self.text(WIDTH - 24, 40, "rows × columns × channels · parameters", 10, align="right", colour=GREY)

    def legend(self, kinds: Iterable[str], extra: str = "") -> None:
        """What the colours say."""
        x, y = 24.0, self.height - 18
        for kind in (kind for kind in KINDS if kind in set(kinds)):
            fill, edge, name = KINDS[kind]
            self.axes.add_patch(Rectangle((x, y - 6), 18, 11, facecolor=fill, edgecolor=edge, linewidth=0.9))
            self.text(x + 24, y, name, 10, align="left", colour=GREY)
            x += 42 + 6.1 * len(name)
        if extra:
            self.arrow([(x, y), (x + 26, y)], skip=True)
            self.text(x + 33, y, extra, 10, align="left", colour=GREY)
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
