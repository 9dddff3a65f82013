"""Drafts: maps in the making. Finished rows are kept, so that a stopped map can be resumed, then moved to their place.

The draft of MAP.tif is the folder `.MAP.tif.draft` beside it:

  lock          held by the process that is at work on the map
  plan.json     what is mapped, by which network and how, and the files of the scene
  rows          the rows that are done
  plain.tif     a GeoTIFF on its way to a cloud-optimised one
  scratch/      what is made of the rows on the way to the map
  files/        what the map will consist of, under the names that it will have: no name can collide with those above
  publish.json  once files/ is whole: the names of what moves from there to its place, and of what makes room for it

Whoever opens a draft with publish.json finishes the moving first, so no kill leaves the files of two maps side by side.
"""

import contextlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypedDict

import msgspec
import numpy as np

from data_pipelines.schema import locks, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.mapping.scene_files import SceneFiles

_log = logging.getLogger(__name__)

_FILES, _ROWS, _PLAIN, _PLAN, _PUBLISH, _LOCK = "files", "rows", "plain.tif", "plan.json", "publish.json", "lock"
_SCRATCH = "scratch"
_VERSION = 2  # schema_version of plan.json and publish.json
_ANEW = "delete this folder, and the same command maps the scene anew"


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Returns the folder of an unfinished map: .MAP.tif.draft beside it."""
    return output.with_name(f".{output.name}.draft")


@contextlib.contextmanager
def alone(output: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from making this map during the context, and finishes what was only to be moved.

    Raises:
      InputError: another process is at work on it, which is named.
    """
    folder = folder_of(output)
    lock = folder / _LOCK
    with locks.held(lock, f"--output={output}", doing="writing", instead="give another --output"):
        try:
            _move(output)
            yield
        finally:
            if folder.is_dir() and not any(path.name != _LOCK for path in folder.iterdir()):
                lock.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # the next process is already in
                    folder.rmdir()


def is_busy(output: pathlib.Path) -> bool:
    """Whether a process is at work on this map."""
    return locks.is_held(folder_of(output) / _LOCK)


def is_foreign(folder: pathlib.Path) -> bool:
    """Whether a folder with the name of a draft holds what no draft does."""
    known = (_FILES, _ROWS, _PLAIN, _PLAN, _PUBLISH, _LOCK, _SCRATCH)
    if not os.path.lexists(folder):
        return False
    return not folder.is_dir() or any(
        path.name not in known and not path.name.startswith((f".{_PLAN}.", f".{_PUBLISH}."))
        for path in folder.iterdir()
    )


def names_on_the_way(output: pathlib.Path) -> frozenset[str]:
    """The names of what an interrupted run was moving to its place: they are this map's, also where they are there."""
    note = _note(output)
    return frozenset(note["files"]) if note else frozenset()


def discard(output: pathlib.Path) -> None:
    """Removes what a draft holds; call it within `alone`."""
    for path in folder_of(output).iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink(missing_ok=True)


class Draft:
    """An unfinished map and the rows that are done; make it within `alone`.

    Attributes:
      output: the map.
      files: folder of what the map will consist of, each under its name.
      plain: a file that may be written meanwhile.
      scratch: a folder, to be made by who needs it; what an earlier run left there means nothing.
      content: `SceneFiles.content` of its scene.
      done: number of rows that need not be computed again.
      continued: whether an earlier run left rows.
    """

    def __init__(
        self,
        output: pathlib.Path,
        plan: Mapping,
        scene: SceneFiles,
        *,
        width: int,
        layers: int,
        boundaries: Iterable[int],
    ):
        """Begins a draft, or resumes the existing one if it has the same plan and the scene is what it was.

        Args:
          output: the map.
          plan: what is mapped, by which network and how; JSON.
          scene: the files that it is made of.
          width: pixels in a row.
          layers: bands of all products together.
          boundaries: rows at which the map can be resumed.
        """
        folder = folder_of(output)
        self.output, self.files, self.plain = output, folder / _FILES, folder / _PLAIN
        self.scratch = folder / _SCRATCH
        self._folder, self._shape = folder, (layers, width)
        self.content = self._begin({**plan, "layers": layers, "width": width}, scene)
        shutil.rmtree(self.files, ignore_errors=True)  # of a run that was killed while it wrote them
        self.files.mkdir()
        self._file = (folder / _ROWS).open("ab")
        rows = self._file.tell() // (layers * width)
        self.done = max((row for row in boundaries if row <= rows), default=0)
        self.continued = self.done > 0
        self._file.truncate(self.done * layers * width)

    def _begin(self, plan: dict, scene: SceneFiles) -> str:
        """Discards what is there unless it is of this plan and this scene, notes both, and returns the content."""
        file = self._folder / _PLAN
        there = _plan(file)
        if there is None or there["plan"] != json.loads(json.dumps(plan)):
            discard(self.output)
        elif scene.has(there["files"]):
            return there["content"]
        elif scene.content != there["content"]:
            _log.info("%s: begun before its scene was changed; begun anew", self.output)
            discard(self.output)
        fields = {"plan": plan, "files": scene.stats, "content": scene.content}
        write_atomically(file, json.dumps(schema_version.stamp(fields, _VERSION), indent=1))
        return scene.content

    def append(self, rows: np.ndarray) -> None:
        """Appends finished rows (rows, layers, width) uint8."""
        self._file.write(np.ascontiguousarray(rows).data)
        self._file.flush()
        os.fsync(self._file.fileno())  # otherwise a power cut could leave the length without the rows
        self.done += len(rows)

    def read(self, first: int, end: int) -> np.ndarray:
        """Reads finished rows from `first` up to `end`: (rows, layers, width) uint8."""
        layers, width = self._shape
        return np.fromfile(
            self._folder / _ROWS, np.uint8, (end - first) * layers * width, offset=first * layers * width
        ).reshape(-1, layers, width)

    def publish(self, names: Sequence[str], replaced: Iterable[str] = ()) -> None:
        """Moves what was written to its place, the map last, and empties the draft.

        Args:
          names: of everything in `files`, the map first.
          replaced: names of the files of the map that was there, for which the new one may have no successor.

        Raises:
          OSError: a file is not there or not whole; then nothing was moved.
        """
        for name in names:
            with (self.files / name).open("rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    raise FileNotFoundError(f"{name} is empty")
                os.fsync(file.fileno())  # a full disk, or a power cut, must not be noticed later
        fields = {"files": [*names], "replaced": sorted({*replaced} - {*names})}
        schema_version.write_json(self._folder / _PUBLISH, fields, _VERSION)
        _move(self.output)

    def __enter__(self) -> "Draft":
        """Returns itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the file of rows."""
        self._file.close()


def _move(output: pathlib.Path) -> None:
    """Moves what publish.json names to its place; does nothing without one. Killed anywhere, it can be called again."""
    note = _note(output)
    if not note:
        return
    (map_name, *others), files = note["files"], folder_of(output) / _FILES
    if (files / map_name).exists():
        # No map stands beside the files of another: the old one goes first, and the new one comes last.
        for name in (map_name, *note["replaced"]):
            output.with_name(name).unlink(missing_ok=True)
        for name in (*others, map_name):
            if (files / name).exists():
                os.replace(files / name, output.with_name(name))
    discard(output)


class _Publish(TypedDict):
    """What publish.json holds: names of files beside the map."""

    files: list[str]
    replaced: list[str]


class _Begun(TypedDict):
    """What plan.json of a draft holds: what is mapped, and name, size and time of each file of the scene."""

    plan: dict[str, Any]
    files: list[Annotated[list[str | int], msgspec.Meta(min_length=3, max_length=3)]]
    content: str


def _note(output: pathlib.Path) -> dict | None:
    """The fields of publish.json; names of files beside the map, nothing else."""
    path = folder_of(output) / _PUBLISH
    if not path.exists():
        return None
    note = schema_version.read_json(path, _Publish, _VERSION, _ANEW)
    for names in (note["files"], note["replaced"]):
        if not all(name.startswith(output.stem) and pathlib.PurePath(name).name == name for name in names):
            raise InputError(f"{path}: {names!r}; expected names of files that begin with {output.stem}; {_ANEW}")
    if note["files"][:1] != [output.name]:
        raise InputError(f"{path}: {note['files']!r}; expected {output.name} first; {_ANEW}")
    return dict(note)


def _plan(file: pathlib.Path) -> dict | None:
    """The fields of plan.json; None where there is none, or none that this lcjax could have written."""
    try:
        return dict(schema_version.read_json(file, _Begun, _VERSION))
    except InputError:
        return None
