"""What is not to be used of an image: clouds and their shadows, a sea, another owner's land.

A user names it as FILE, or as FILE:NUMBERS of a raster, such as scl.tif:cloud_high,cloud_shadow or mask.tif:1,4-6:

- Of a raster the pixels of these numbers are excluded; without numbers all but 0 and the no-data value that the file
  declares. It may have other pixels than the image, or another CRS: each pixel of the image takes the number at its
  centre (nearest neighbour). What lies beyond the raster is not excluded.
- Of a file of polygons what they cover is excluded: pixels whose centre they hold.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np
from rasterio.windows import Window

from data_pipelines.geo import burning, raster_io, resampling, scl, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.spec import Refused

_NUMBERS = re.compile(r"(-?\d{1,10})(?:-(\d{1,10}))?\Z")
_MOST = 65_536  # numbers that one range may stand for


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
    """

    read: Callable[[Window], tuple[np.ndarray, np.ndarray]]
    digest: str = ""


def parse(text: str, what: str, below: pathlib.Path | None = None) -> Exclusion:
    """Parses FILE or FILE:NUMBERS; what is there under the whole text is meant by it.

    Args:
      text: as it was given.
      what: gave it, for messages: "--mask", "LIST.csv, line 3: mask".
      below: the folder that a relative path starts from; None for the current one.

    Raises:
      InputError: there is no such file, or a number is none.
    """
    whole = paths.given(text, what, below)
    if whole.exists():
        return Exclusion(whole)
    name, colon, listed = text.rpartition(":")
    path = paths.given(name, what, below) if name else whole
    if not colon or not path.exists():
        raise InputError(
            f"{what}={text}: no such file; expected a raster or polygons of what is not to be used, of a raster also "
            "with its numbers, e.g. scl.tif:cloud_high,cloud_shadow or mask.tif:1,2"
        )
    if vectors.are_vectors(path):
        raise InputError(f"{what}={text}: numbers of polygons; expected {path.name} alone: all of them are excluded")
    words = [word.strip().lower() for word in listed.split(",")]
    numbers = sorted({number for word in words for number in _numbers(word, f"{what}={text}")})
    return Exclusion(path, tuple(numbers), any(word in scl.CLASSES for word in words))


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
      Refused: it lies elsewhere, or one of the two lies nowhere and their proportions differ.
    """
    if vectors.are_vectors(exclusion.path):
        placed = vectors.onto(vectors.read(exclusion.path), grid, image)

        def drawn(window: Window) -> tuple[np.ndarray, np.ndarray]:
            inside = burning.covered(placed, window)
            return inside, np.ones_like(inside)

        yield Excluded(drawn, placed.digest)
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
