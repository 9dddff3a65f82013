"""Rasters that GDAL reads through this process, and not from files: it opens none, and asks no server.

A virtual folder holds some files by name, as `data_pipelines.remote.ranges.Bytes`; a VRT in it finds its sources
there and nowhere else. Where a part cannot be had, the raster is spoilt: whatever GDAL makes of the gap, `check` then
raises what went wrong, after each read and for good.

rasterio looks for such folders in a `contextvars.Context` of the thread that opened the dataset. So whatever may open
or read something goes through `within`, from any thread.
"""

import atexit
import contextvars
import dataclasses
import io
import itertools
import pathlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import rasterio
from rasterio.abc import MultiByteRangeResourceContainer

from data_pipelines.geo import quiet
from data_pipelines.remote.ranges import Bytes
from data_pipelines.schema.spec import Refused

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclasses.dataclass
class _Folder:
    """What belongs to an open dataset.

    Attributes:
      path: what it is called.
      files: by name.
      context: in which it is read.
      error: why a part of a file could not be had.
    """

    path: pathlib.Path
    files: Mapping[str, Bytes]
    context: contextvars.Context | None = None
    error: BaseException | None = None


_folders: weakref.WeakKeyDictionary[rasterio.DatasetReader, _Folder] = weakref.WeakKeyDictionary()
_order = itertools.count()
_numbers: weakref.WeakKeyDictionary[rasterio.DatasetReader, int] = weakref.WeakKeyDictionary()


def opened(path: pathlib.Path, files: Mapping[str, Bytes], name: str, driver: str) -> rasterio.DatasetReader:
    """An open raster of a virtual folder.

    Args:
      path: what the raster is called in messages.
      files: in the folder, by name.
      name: of the one that is opened.
      driver: that opens it.

    Raises what went wrong with the files, or what rasterio raises.
    """
    folder = _Folder(path, files)
    try:
        with quiet.quietly():
            dataset = rasterio.open(f"lcjax/{name}", driver=driver, opener=_Container(folder), sharing=False)
    except Exception:
        if folder.error:
            raise folder.error from None
        raise
    folder.context = contextvars.copy_context()
    _remember(dataset, folder)
    check(dataset)
    return dataset


def follow(view: rasterio.DatasetReader, dataset: rasterio.DatasetReader) -> None:
    """Makes a view of an open dataset virtual, too, where that is."""
    if folder := _folders.get(dataset):
        _remember(view, folder)


def within(dataset: rasterio.DatasetReader, do: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """What a function returns that reads of a dataset. Raises, too, what went wrong with the files of a virtual one."""
    folder = _folders.get(dataset)
    if folder is None or folder.context is None:
        return do(*args, **kwargs)
    try:
        result = folder.context.copy().run(do, *args, **kwargs)
    finally:
        check(dataset)
    return result


def check(dataset: rasterio.DatasetReader) -> None:
    """Raises what went wrong with the files of a virtual dataset."""
    folder = _folders.get(dataset)
    if folder and folder.error:
        raise folder.error


def path_of(dataset: rasterio.DatasetReader) -> pathlib.Path:
    """What a dataset is called: the path of its file, or what `opened` was told."""
    folder = _folders.get(dataset)
    return folder.path if folder else pathlib.Path(dataset.name)


def is_virtual(dataset: rasterio.DatasetReader) -> bool:
    """Whether a dataset is one of a virtual folder."""
    return dataset in _folders


def length(dataset: rasterio.DatasetReader) -> int | None:
    """Bytes of the files of a virtual dataset; None of others."""
    folder = _folders.get(dataset)
    return sum(file.length for file in folder.files.values()) if folder else None


def _remember(dataset: rasterio.DatasetReader, folder: _Folder) -> None:
    _folders[dataset], _numbers[dataset] = folder, next(_order)


@atexit.register
def _close_all() -> None:
    """Closes what is open still, views first: GDAL would ask a Python that has ended for it."""
    for dataset, _ in sorted(_numbers.items(), key=lambda pair: -pair[1]):
        folder = _folders.get(dataset)
        if folder and folder.context and not dataset.closed:
            folder.context.copy().run(dataset.close)


class _Container(MultiByteRangeResourceContainer):
    """A virtual folder as rasterio asks for it."""

    def __init__(self, folder: _Folder):
        self._folder = folder

    def open(self, path: str, mode: str = "r", **kwargs: object) -> "_File":
        """A file of the folder."""
        if "w" in mode or "+" in mode or "a" in mode:
            raise PermissionError(path)
        return _File(self._folder, self._bytes(path))

    def isfile(self, path: str) -> bool:
        """Whether there is such a file."""
        return _name(path) in self._folder.files

    def isdir(self, path: str) -> bool:
        """Whether there is such a folder."""
        return False

    def ls(self, path: str) -> list[str]:
        """The names in it."""
        return list(self._folder.files)

    def mtime(self, path: str) -> int:
        """No time: files are told apart by their versions."""
        return 0

    def rm(self, path: str) -> None:
        """Removes nothing."""
        raise PermissionError(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return self._bytes(path).length

    def _bytes(self, path: str) -> Bytes:
        if (found := self._folder.files.get(_name(path))) is None:
            raise FileNotFoundError(path)
        return found


class _File(io.RawIOBase):
    """An open file. It never raises: what calls it is no Python, and would go on."""

    def __init__(self, folder: _Folder, content: Bytes):
        super().__init__()
        self._folder, self._content, self._at = folder, content, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves to another place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.length}[whence]
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none where they cannot be had."""
        wanted = self._content.length - self._at if size < 0 else size
        (found,) = self._parts([(self._at, max(wanted, 0))])
        self._at += len(found)
        return found

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several parts at once; of what cannot be had zeros, which nobody may use."""
        wanted = list(zip(offsets, sizes, strict=True))
        found = self._parts(wanted)
        if self._folder.error is None and any(len(part) < size for part, size in zip(found, sizes, strict=True)):
            self._folder.error = Refused(self._folder.path, "names pixels behind its end; damaged, or not whole")
        return [part.ljust(size, b"\0") for part, size in zip(found, sizes, strict=True)]

    def _parts(self, wanted: list[tuple[int, int]]) -> list[bytes]:
        try:
            if self._folder.error is None:
                return self._content.parts(wanted)
        except BaseException as error:  # a wish to stop as well: `check` raises it
            self._folder.error = error
        return [b""] * len(wanted)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
