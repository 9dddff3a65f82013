"""What is not to be used of an image: clouds and their shadows, a sea, another owner's land.

A user names it as FILE, or as FILE:NUMBERS of a raster, such as scl.tif:cloud_high,cloud_shadow or mask.tif:1,4-6:

- Of a raster the pixels of these numbers are excluded; without numbers all but 0 and the no-data value that the file
  declares. It may have other pixels than the image, or another CRS: each pixel of the image takes the number at its
  centre (nearest neighbour). What lies beyond the raster is not excluded.
- Of a file of polygons what they cover is excluded: pixels whose centre they hold. One file may be of many images:
  where none of its polygons lies on an image, nothing of that is excluded.
"""

import contextlib
import dataclasses
import logging
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np
from rasterio.windows import Window

from data_pipelines.geo import burning, raster_io, resampling, scl, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.geo.vectors import Features
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.spec import Refused

_log = logging.getLogger("lcjax.data")

_NUMBERS = re.compile(r"(-?\d{1,10})(?:-(\d{1,10}))?\Z")
_MOST = 65_536  # numbers that one range may stand for
_ROWS = 1024  # of an image that are surveyed together
_EXPECTED = "expected a raster or polygons of what is not to be used"


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """A file, and which of its pixels are not to be used.

    Attributes:
      path: of a raster, or of polygons; a folder of them where one for each image is meant.
      numbers: of a raster; empty for all but 0 and no data.
      scene_classes: whether some were named as scene classes of Sentinel-2, so that the raster must hold them alone.
    """

    path: pathlib.Path
    numbers: tuple[int, ...] = ()
    scene_classes: bool = False

    @property
    def told(self) -> str:
        """The file and the numbers in words."""
        of_number = {number: name for name, number in scl.CLASSES.items()} if self.scene_classes else {}
        listed = ", ".join(of_number.get(number, str(number)) for number in self.numbers)
        return f"{self.path.name}: {listed}" if listed else self.path.name


@dataclasses.dataclass(frozen=True)
class Excluded:
    """An exclusion on the pixels of an image.

    Attributes:
      read: gives a window of the image: excluded (h, w) bool, and (h, w) bool where the file tells anything.
      digest: of polygons, a short hash of what they cover; of a raster "": its bytes and numbers tell.
      elsewhere: of polygons none of which lies on the image, why that is said; else "".
    """

    read: Callable[[Window], tuple[np.ndarray, np.ndarray]]
    digest: str = ""
    elsewhere: str = ""


def parse(text: str, what: str, below: pathlib.Path | None = None, must_exist: bool = True) -> Exclusion:
    """Parses FILE or FILE:NUMBERS; what is there under the whole text is meant by it.

    Args:
      text: as it was given.
      what: gave it, for messages: "--mask", "LIST.csv, line 3: mask".
      below: the folder that a relative path starts from; None for the current one.
      must_exist: whether a file that is not there is refused now; else `opened` refuses it, which costs one row of a
        list and not all of it.

    Raises:
      InputError: there is no such file, or a number is none.
    """
    whole = paths.given(text, what, below)
    if whole.exists():
        return Exclusion(whole)
    name, colon, listed = text.rpartition(":")
    path = paths.given(name, what, below) if name else whole
    words = [word.strip().lower() for word in listed.split(",")]
    if not colon or not path.exists():
        if must_exist:
            raise InputError(
                f"{what}={text}: no such file; {_EXPECTED}, of a raster also with its numbers, e.g. "
                "scl.tif:cloud_high,cloud_shadow or mask.tif:1,2"
            )
        if not (name and all(word in scl.CLASSES or _NUMBERS.match(word) for word in words)):
            return Exclusion(whole)
    numbers = sorted({number for word in words for number in _numbers(word, f"{what}={text}")})
    return of_file(Exclusion(path, tuple(numbers), any(word in scl.CLASSES for word in words)), path, f"{what}={text}")


def check_exists(exclusion: Exclusion) -> None:
    """Raises Refused where there is no such file."""
    if not exclusion.path.exists():
        raise Refused(exclusion.path, f"no such file; {_EXPECTED}")


def of_file(exclusion: Exclusion, path: pathlib.Path, what: str) -> Exclusion:
    """The same numbers of a file, such as one of the folder that was named; `what` named it is for messages.

    Raises:
      InputError: they would be numbers of polygons.
    """
    if exclusion.numbers and vectors.are_vectors(path):
        raise InputError(f"{what}: numbers of polygons; expected {path.name} alone: all of them are excluded")
    return dataclasses.replace(exclusion, path=path)


def _numbers(word: str, what: str) -> range:
    """The numbers that one word stands for: a number, a range, or a scene class."""
    if word in scl.CLASSES:
        return range(scl.CLASSES[word], scl.CLASSES[word] + 1)
    found = _NUMBERS.match(word)
    if not found:
        raise InputError(
            f"{what}: {word!r} is neither a number, nor a scene class of Sentinel-2; {did_you_mean(word, scl.CLASSES)}"
            f"expected e.g. 1,4-6, or of {', '.join(scl.CLASSES)}"
        )
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if not 0 <= last - first < _MOST:
        raise InputError(f"{what}: {word!r} is no range of up to {_MOST:,} numbers; expected the smaller one first")
    return range(first, last + 1)


@contextlib.contextmanager
def opened(exclusion: Exclusion, grid: Grid, image: pathlib.Path) -> Iterator[Excluded]:
    """Opens an exclusion on the pixels of an image, for the time of the context.

    Args:
      exclusion: as `parse` gives it.
      grid: of the image.
      image: its file, for messages.

    Raises:
      InputError: the file cannot be read, or is no such mask; in `Excluded.read` also where a raster of scene classes
        holds other numbers.
      Refused: it is not there, or one of the two lies nowhere and their proportions differ.
    """
    check_exists(exclusion)
    if vectors.are_vectors(exclusion.path):
        yield _of_polygons(vectors.read(exclusion.path), grid, image)
        return
    with raster_io.opened(exclusion.path) as dataset, contextlib.ExitStack() as stack:
        _check(dataset, exclusion.path)
        view = stack.enter_context(resampling.nearest(dataset, grid, image))
        declared = dataset.nodatavals[0]

        def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
            numbers, *alpha = raster_io.read_raw(view, window)
            known = alpha[0] != 0 if alpha else np.ones(numbers.shape, bool)
            return _is_excluded(numbers, exclusion, declared, known) & known, known

        yield Excluded(read)


def _of_polygons(features: Features, grid: Grid, image: pathlib.Path) -> Excluded:
    """What polygons exclude of an image; nothing, where all of them lie elsewhere."""
    elsewhere = ""
    try:
        placed = vectors.onto(features, grid, image)
    except vectors.Elsewhere as error:
        placed, elsewhere = vectors.none_of(features), error.reason
    if not elsewhere and not len(placed.shapes.kinds):
        elsewhere = "none of its features meets it"

    def drawn(window: Window) -> tuple[np.ndarray, np.ndarray]:
        inside = burning.covered(placed, window)
        return inside, np.ones_like(inside)

    return Excluded(drawn, placed.digest, elsewhere)


def survey(excluded: Excluded, exclusion: Exclusion, grid: Grid, image: pathlib.Path) -> float:
    """Looks at all of an exclusion before any work, and warns where it does not reach.

    Args:
      excluded: as `opened` gives it for these `exclusion`, `grid` and `image`.

    Returns:
      The share of the image that is excluded.

    Raises:
      Refused: a raster holds nothing of the ground of the image, or cannot be read.
    """
    out = known = 0
    for top in range(0, grid.height, _ROWS):
        parts = excluded.read(Window(0, top, grid.width, min(_ROWS, grid.height - top)))
        out, known = out + int(parts[0].sum()), known + int(parts[1].sum())
    pixels = grid.height * grid.width
    if not known:
        raise Refused(exclusion.path, f"holds nothing of the ground of {image}; expected a mask of it")
    if excluded.elsewhere:
        _log.warning("%s: nothing of %s is excluded: %s", exclusion.path, image, excluded.elsewhere)
    if known < pixels:
        _log.warning(
            "%s: reaches over %.1f %% of %s; what lies beyond is not excluded",
            *(exclusion.path, 100 * known / pixels, image),
        )
    return out / pixels


def _check(dataset, path: pathlib.Path) -> None:
    """Raises Refused for a raster that is no mask: of several bands, or of numbers that are not whole."""
    raster_io.check_here(dataset)
    if dataset.count != 1:
        raise Refused(
            path, f"{dataset.count} bands; expected one, whose numbers say what is not to be used; take it out, e.g. "
            f"with `gdal_translate -b 1 {path.name} mask.tif`",
        )  # fmt: skip
    if np.dtype(dataset.dtypes[0]).kind not in "iu":
        raise Refused(
            path, f"numbers of type {dataset.dtypes[0]}; expected whole ones; write it so, e.g. with `gdal_translate "
            f"-ot Byte {path.name} mask.tif`",
        )  # fmt: skip


def _is_excluded(numbers: np.ndarray, exclusion: Exclusion, declared: float | None, known: np.ndarray) -> np.ndarray:
    if exclusion.scene_classes and (stray := numbers[known & ((numbers < scl.FIRST) | (numbers > scl.LAST))]).size:
        raise Refused(
            exclusion.path,
            f"holds {stray[0]}, which is no scene class of Sentinel-2; expected {scl.FIRST} to {scl.LAST}; is it "
            "another mask? Then give its numbers instead of names",
        )
    if exclusion.numbers:
        return np.isin(numbers, exclusion.numbers)
    return (numbers != 0) & (numbers != declared) if declared is not None else numbers != 0
