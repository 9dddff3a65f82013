"""Grids of rasters: whether the parts of a record, or the sensors of a scene, lie on the same pixels of the ground."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.schema.spec import Refused

if TYPE_CHECKING:
    from rasterio import Affine

TOLERANCE = 0.5  # pixels that a corner may be away along rows or columns: nearer, every pixel is on the right one
_LOCAL_NAME = re.compile(r'(?:LOCAL_CS|ENGCRS|ENGINEERINGCRS)\["([^"]*)"')
_NAMELESS = ("", "unnamed", "unknown", "unknownengineeringcrs", "undefined", "arbitrary")
# What GDAL renamed in time: "RGF93 / Lambert-93" is "RGF93 v1 / Lambert-93" since PROJ 8.
_RENAMED = re.compile(r"\bv1\b")
_FLIPS = {(1, -1): "upside down", (-1, 1): "mirrored", (-1, -1): "turned by 180 degrees"}
_FLAT = 1e12  # longest over shortest side of what a pixel of one side becomes
_EARTH = 6371.0  # km, its mean radius
WARP = "; warp it onto that, `rio warp {file} OUT.tif --like {like} --resampling nearest`, and list OUT.tif"
ANEW = "; it is of another place, or was written anew: download it again"


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Attributes:
      crs: as rasterio has it; None where the file tells none.
      transform: from columns and rows to coordinates in the CRS.
      height: rows of pixels.
      width: columns of pixels.
    """

    crs: Any
    transform: "Affine"
    height: int
    width: int

    @staticmethod
    def of(dataset) -> "Grid":
        """The grid of an open rasterio dataset."""
        return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def matrix(self) -> np.ndarray:
        """The transform as a matrix (3, 3)."""
        return np.array(self.transform, np.float64).reshape(3, 3)

    @property
    def corners(self) -> np.ndarray:
        """Columns and rows of the outer corners, and ones, (3, 4)."""
        return np.array([(0, self.width, 0, self.width), (0, 0, self.height, self.height), (1, 1, 1, 1)], np.float64)

    @property
    def is_placed(self) -> bool:
        """Whether the transform leads anywhere: not from pixels to pixels, as where a file tells none."""
        (a, b, c), (d, e, f), _ = self.matrix
        counts_pixels = (abs(a), b, c, d, abs(e)) == (1, 0, 0, 0, 1) and f in (0, self.height)
        with np.errstate(over="ignore"):
            return bool(np.isfinite(self.matrix).all() and a * e != b * d and not counts_pixels)

    def resized(self, height: int, width: int) -> "Grid":
        """The grid of the same ground in so many rows and columns."""
        from rasterio import Affine  # training does without

        a, b, c, d, e, f = tuple(self.transform)[:6]
        across, down = self.width / width, self.height / height
        scaled = Affine(a * across, b * down, c, d * across, e * down, f)
        return Grid(self.crs, scaled if self.is_placed else self.transform, height, width)

    @property
    def is_sound(self) -> bool:
        """Whether pixels have two sides: of others, which damaged files have, no place can be told."""
        return bool(np.linalg.cond(self.matrix[:2, :2]) < _FLAT)


def check_same(grids: Mapping[pathlib.Path, Grid], remedy: str = ANEW) -> None:
    """Raises Refused for the first file whose pixels are not those of most, of two for the second.

    Args:
      grids: of the parts of a record, by file.
      remedy: how the message of another place ends; it may name {file} and {like}.
    """
    names = list(grids)
    # A part without a place is asked for its size alone: it stands for the others only where none has a place.
    standards = [path for path in names if grids[path].is_placed] or names
    if not any(difference(grids[path], grids[standards[0]], "") for path in names if path != standards[0]):
        return  # as nearly always
    differing = {(a, b): difference(grids[a], grids[b], b.name) for a in names for b in names if a != b}
    like = min(standards, key=lambda b: sum(bool(differing[a, b]) for a in names if a != b))
    for path in names:
        if path != like and (found := differing[path, like]):
            end = remedy.format(file=path.name, like=like.name) if same_size(grids[path], grids[like]) else ""
            raise Refused(path, found + end)


@np.errstate(over="ignore", invalid="ignore")  # damaged files lie farther away than numbers reach
def difference(grid: Grid, like: Grid, name: str) -> str:
    """How a grid is not another one, as a phrase: "CRS EPSG:4326, expected EPSG:32633 as in NAME"; empty where it is.

    Grids are the same where they have as many rows and columns and each corner lies within half a pixel of the other
    one's, along rows and along columns. A grid without a place is compared by its size alone, and one whose CRS is not
    told by its numbers.

    Args:
      grid: is described.
      like: is what was expected.
      name: of the file of `like`.
    """
    if not same_size(grid, like):
        return f"{grid.width} x {grid.height} pixels, expected {like.width} x {like.height} as in {name}"
    if not (grid.is_placed and like.is_placed):
        return ""
    if not (grid.is_sound and like.is_sound):
        mine, theirs = ("{:.4g} x {:.4g}".format(*np.hypot(*one.matrix[:2, :2])) for one in (grid, like))
        return f"pixels of {mine}, expected {theirs} as in {name}: corners farther away than numbers reach"
    apart = _apart(grid, like)
    if not _equivalent(grid, like):
        return f"CRS {_called(grid.crs)}, expected {_called(like.crs)} as in {name}{_far(grid, like, name)}"
    if apart < TOLERANCE:
        return ""
    (a, b), (c, d) = turn = np.linalg.solve(like.matrix, grid.matrix)[:2, :2]
    away = np.hypot(*((grid.matrix - like.matrix) @ grid.corners)[:2]).max()
    unit = _unit(like.crs)
    far = f"corners up to {apart:,.4g} pixels ({away:,.4g}{unit}) away"
    sizes = np.hypot(*turn)
    if (np.abs(sizes - 1) * (grid.width, grid.height) >= TOLERANCE).any():
        mine, theirs = ("{:.4g} x {:.4g}".format(*np.hypot(*one.matrix[:2, :2])) + unit for one in (grid, like))
        return f"pixels of {mine}, expected {theirs} as in {name}: {far}"
    if abs(b) + abs(c) < abs(a) + abs(d) and (flip := _FLIPS.get((int(np.sign(a)), int(np.sign(d))))):
        return f"{flip} against {name}: {far}"
    angle = math.degrees(math.atan2(c, a))
    turned = f"turned by {angle:.3g} degrees against {name}: {far}"
    return turned if abs(math.radians(angle)) * max(grid.width, grid.height) >= TOLERANCE else f"{far} from {name}"


def other_pixels(grid: Grid, like: Grid, name: str) -> str:
    """How the ground of a grid of other pixels is not that of another one, as `difference`; empty where it is.

    Where one of the two has no place, rows and columns decide: the ground has to have the same proportions.
    """
    if found := difference(grid.resized(like.height, like.width), like, name):
        return found
    if not (grid.is_placed and like.is_placed) and abs(grid.width * like.height / like.width - grid.height) > TOLERANCE:
        return (
            f"{grid.width} x {grid.height} pixels, not of the proportions of the {like.width} x {like.height} of {name}"
        )
    return ""


def same_size(grid: Grid, like: Grid) -> bool:
    """Whether two grids have as many rows and columns."""
    return (grid.height, grid.width) == (like.height, like.width)


def _apart(grid: Grid, like: Grid) -> float:
    """By how many pixels of `like` the corners are away, along rows or columns, at most."""
    found = np.linalg.solve(like.matrix, grid.matrix @ grid.corners) - grid.corners
    return round(float(np.abs(found).max()), 6)  # eastings of millions in steps of a float64 are no difference


def _equivalent(grid: Grid, like: Grid) -> bool:
    """Whether the same numbers are the same places, whatever the two CRS are called. What is not told is not asked."""
    one, other = grid.crs, like.crs
    if not one or not other:
        return True
    local = [_local_name(crs) for crs in (one, other)]
    if local == [None, None]:
        return bool(one == other) or _numbers_agree(grid, like)
    # A local system has nothing but its name: masks of FLAIR say so much of Lambert-93. To GDAL all of them are equal.
    names = [_plain(_name(crs)) if name is None else name for name, crs in zip(local, (one, other), strict=True)]
    return names[0] == names[1] or any(name in _NAMELESS for name in local)


def _numbers_agree(grid: Grid, like: Grid) -> bool:
    """Whether coordinates in both CRS are the same numbers, to half a pixel, at the corners and the centre."""
    from data_pipelines.geo import geodesy  # here, because it imports rasterio, which training does without

    centre = np.array([[grid.width / 2], [grid.height / 2], [1]])
    x, y, _ = grid.matrix @ np.hstack([grid.corners, centre])
    moved = np.stack(geodesy.transformed(grid.crs, like.crs, x, y)) - (x, y)
    return bool((np.abs(np.linalg.solve(like.matrix[:2, :2], moved)) < TOLERANCE).all())  # NaN is not


def _far(grid: Grid, like: Grid, name: str) -> str:
    """How far apart two grids in different CRS lie on the ground, where that is known."""
    from data_pipelines.geo import geodesy

    if _apart(grid, like) < TOLERANCE:
        return f" (with the same numbers: if the CRS is wrong, `rio edit-info --crs {_called(like.crs)}` writes it in)"
    if not (geodesy.is_earthly(grid.crs) and geodesy.is_earthly(like.crs)):
        return ""
    centres = [one.matrix @ (one.width / 2, one.height / 2, 1) for one in (grid, like)]
    places = [geodesy.lonlat(one.crs, *centre[:2]) for one, centre in zip((grid, like), centres, strict=True)]
    (east, north), (other_east, other_north) = np.radians(np.array(places))
    haversine = (
        math.sin((north - other_north) / 2) ** 2
        + math.cos(north) * math.cos(other_north) * math.sin((east - other_east) / 2) ** 2
    )
    kilometres = 2 * _EARTH * math.asin(math.sqrt(min(haversine, 1)))
    return f" (its centre is {kilometres:,.3g} km from that of {name})" if math.isfinite(kilometres) else ""


def _called(crs) -> str:
    """A code, or the name of a CRS that has none."""
    text = crs.to_string()
    return text if re.fullmatch(r"[A-Za-z]+:\w+", text) else _name(crs) or text[:60]


def _name(crs) -> str:
    named = re.search(r'\["([^"]*)"', crs.to_wkt())
    return named[1] if named else ""


def _local_name(crs) -> str | None:
    """The name of a local system, without what its writers spell in their ways; None for places on the Earth."""
    local = _LOCAL_NAME.match(crs.to_wkt())
    return _plain(local[1]) if local else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _RENAMED.sub("", name.casefold().replace("_", " ")))


def _unit(crs) -> str:
    """Of the coordinates, with a space before it; empty where it is not known."""
    if not crs:
        return ""
    try:
        name, _ = crs.units_factor
    except ValueError:  # rasterio's CRSError: a CRS that GDAL knows no unit of
        return ""
    known = {"metre": " m", "meter": " m", "degree": " degrees", "unknown": ""}
    return known.get(name.casefold(), f" {name}")
