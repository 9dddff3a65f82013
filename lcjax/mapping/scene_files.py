"""The files that GDAL reads for a scene, and whether they are what they were."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable, Sequence

from data_pipelines.geo import composites, raster_io, vectors, virtual
from data_pipelines.geo.cubes import store
from data_pipelines.remote.addresses import Address
from data_pipelines.remote.ranges import Ranged
from data_pipelines.schema import progress
from data_pipelines.schema.errors import InputError

_CHUNK = 2**22  # bytes
_LARGE = 2**30  # bytes that take seconds to read: worth a bar


def listed(raster: pathlib.Path) -> list[pathlib.Path]:
    """Every file that GDAL reads for a raster, that itself first: sidecars, the sources of a VRT and what they need.

    Of what cannot be opened it is that file alone. Polygons, which a mask may be, are asked for theirs.
    """
    if isinstance(raster, Address):
        with contextlib.suppress(InputError):
            return composites.files_of(raster)
        return [raster]
    if vectors.are_vectors(raster):
        return vectors.files_of(raster)
    if store.root_of(raster):
        return store.files_of(raster)
    found, todo = {raster: None}, [raster]
    while todo:
        with contextlib.suppress(InputError), raster_io.opened(todo.pop()) as dataset:
            if virtual.is_virtual(dataset):
                found |= dict.fromkeys(composites.files_of(raster))
                continue
            new = [path for name in dataset.files if (path := pathlib.Path(name)) not in found and path.is_file()]
            found |= dict.fromkeys(new)
            if dataset.driver == "VRT":  # GDAL names the sources, but not what belongs to them
                todo += new
    return list(found)


@dataclasses.dataclass(frozen=True)
class SceneFiles:
    """The files of a scene at one moment.

    Attributes:
      paths: of all of them.
      stats: path, size in bytes and time of the last change in ns of each; of a file on a server what that says of it.
      rasters: that they are of.
    """

    paths: tuple[pathlib.Path, ...]
    stats: tuple[tuple[str, int, int | str], ...]
    rasters: tuple[pathlib.Path, ...] = ()

    @classmethod
    def of(cls, rasters: Iterable[pathlib.Path]) -> "SceneFiles":
        """Looks at the files that GDAL reads for these rasters."""
        rasters = tuple(rasters)
        paths = [path for raster in rasters for path in listed(raster)]
        return cls(tuple(paths), _stats(paths), rasters)

    @property
    def stamp(self) -> str:
        """A hash of `stats`: where it is the same, so is what the files hold."""
        return hashlib.sha256(json.dumps(self.stats).encode()).hexdigest()[:16]

    @functools.cached_property
    def content(self) -> str:
        """A hash of every byte of the files, in order; their names and times do not count. On servers `stats` do."""
        return _content(self.paths, self.stats)

    def has(self, stats: Sequence) -> bool:
        """Whether the files had these `stats`, as JSON gives them back."""
        return list(map(list, self.stats)) == stats

    def check_unchanged(self, content: str) -> None:
        """Raises InputError where the files no longer hold `content`, which they did when this was made."""
        stores = [raster for raster in self.rasters if store.root_of(raster)]
        grown = {path for raster in stores for path in store.files_of(raster)} - set(self.paths)
        if grown:
            raise InputError(
                f"{min(grown)}: has come while its store was mapped; run the same command again, and the map is begun "
                "anew"
            )
        now = _stats(self.paths)
        if now == self.stats:
            return
        before = {path: rest for path, *rest in self.stats}
        changed = next((path for path, *rest in now if rest != before.get(path)), self.paths[0])
        if len(now) < len(self.stats) or _content(self.paths, now) != content:
            raise InputError(
                f"{changed}: has changed while it was mapped; run the same command again, and the map is begun anew"
            )


def _stats(paths: Iterable[pathlib.Path]) -> tuple[tuple[str, int, int | str], ...]:
    found: list[tuple[str, int, int | str]] = []
    for path in paths:
        if isinstance(path, Address):
            file = Ranged(path)
            found.append((str(path), file.length, file.version))
            continue
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            found.append((str(path.resolve()), about.st_size, about.st_mtime_ns))
    return tuple(found)


def _content(paths: Sequence[pathlib.Path], stats: Iterable[Sequence]) -> str:
    total = hashlib.sha256()
    here = [path for path in paths if not isinstance(path, Address)]
    told = [version for _, _, version in stats if isinstance(version, str)]
    total.update("".join(f"{version}\n" for version in told).encode())
    sizes = [path.stat().st_size for path in here]
    few = sum(sizes) < _LARGE
    with progress.bar(total=sum(sizes), desc="look at scene", unit="B", unit_scale=True, disable=few) as bar:
        for path, size in zip(here, sizes, strict=True):
            inside = path.relative_to(root) if (root := store.root_of(path)) else ""  # which chunk it is
            total.update(f"{inside}{size}\n".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
                    bar.update(len(chunk))
    return total.hexdigest()[:16]
